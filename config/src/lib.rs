//! Ringgate's configuration: from text to a checked, typed tree
