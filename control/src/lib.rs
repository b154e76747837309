//! Ringgate's control plane: admin API, DNS, configuration watch
