//! Publishing: content in, content information out, in one pass.
