//! Plans of small applications, row by row, and of generated ones, there and back.
