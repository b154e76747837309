//! Refusing work early when there is too much of it.
