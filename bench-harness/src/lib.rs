//! Ringgate's bench harness
