//! [MS-PCCRD] server.
