//! [MS-PCCRD] client.
