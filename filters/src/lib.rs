//! Ringgate's filters: pure decisions over a request
