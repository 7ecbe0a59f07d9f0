//! [MS-PCCRD] xml.
