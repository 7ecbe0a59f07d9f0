//! [MS-PCCRC 2.3] Content information 1.0.
