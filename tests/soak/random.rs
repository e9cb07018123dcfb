//! Choices that one seed repeats.

/// Where a seed comes from when nobody names one: the day this was written.
const SEED: u64 = 20_261_124;

/// Numbers from a seed (xorshift64).
pub struct Random(u64);

impl Random {
    /// From a seed; 0 would stay 0.
    pub fn new(seed: u64) -> Self {
        Self(seed.max(1))
    }

    /// A number below `most`.
    pub fn below(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % most
    }
}

/// `ROOST_SEED`, or the usual one.
pub fn seed() -> u64 {
    std::env::var("ROOST_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(SEED)
}
