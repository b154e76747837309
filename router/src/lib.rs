//! Ringgate's router: a radix trie over host and path, then predicates
