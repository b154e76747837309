//! End-to-end, conformance and fault tests, all against the real binary.
