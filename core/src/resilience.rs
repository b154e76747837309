//! What keeps failures of origins small: breakers, ejection, budgets and limits of concurrency.
//! State that cores share is atomic, `now` is an argument, and nothing here does I/O.
