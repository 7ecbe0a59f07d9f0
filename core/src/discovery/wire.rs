//! [MS-PCCRD] wire.
