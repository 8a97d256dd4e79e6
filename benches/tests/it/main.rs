//! The benchmarks themselves: that every row measures something, never how fast.
#![cfg(test)]

mod docs;
mod smoke;
