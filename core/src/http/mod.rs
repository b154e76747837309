//! HTTP without I/O: heads, framing, header rules.
