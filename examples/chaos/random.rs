//! Numbers that look like chance and are the same for the same seed (xorshift64*).

/// A stream of them.
pub(crate) struct Random(u64);

impl Random {
    /// Streams of one seed differ by their number.
    pub(crate) fn new(seed: u64, stream: u32) -> Self {
        let mixed = seed ^ (u64::from(stream) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Self(mixed.max(1))
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Less than `bound`, which is not 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        ((self.next() >> 33) as usize) % bound
    }
}
