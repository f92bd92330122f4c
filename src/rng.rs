//! Chance from a seed: small, quick, the same on every machine.

/// One stream of numbers (splitmix64).
#[derive(Debug, Clone)]
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Rng {
        Rng(seed)
    }

    /// A stream of its own for each purpose: drawing more for one changes nothing for the others.
    pub(crate) fn branch(&self, purpose: &str) -> Rng {
        let salt = purpose
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
        let mut mixed = Rng(self.0 ^ salt);
        Rng(mixed.next())
    }

    #[inline]
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// At least zero, less than `end`, which is at least one.
    #[inline]
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        // The multiplication spreads the upper bits, without a division; the bias is below 2^-32 for what we draw.
        ((u128::from(self.next()) * u128::from(end)) >> 64) as u64
    }

    /// As [`Rng::below`], for indices and lengths.
    pub(crate) fn index(&mut self, end: usize) -> usize {
        self.below(end as u64) as usize
    }

    /// True in so many of a thousand cases.
    pub(crate) fn permille(&mut self, chances: u32) -> bool {
        self.below(1000) < u64::from(chances)
    }

    /// Turns a row into another order, each equally likely.
    pub(crate) fn shuffle<T>(&mut self, row: &mut [T]) {
        for end in (1..row.len()).rev() {
            row.swap(end, self.index(end + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_draws_the_same_numbers_and_branches_differ() {
        let draw = |mut rng: Rng| [rng.next(), rng.next(), rng.below(7), rng.below(1)];
        assert_eq!(draw(Rng::new(5)), draw(Rng::new(5)));
        assert_ne!(draw(Rng::new(5).branch("a")), draw(Rng::new(5).branch("b")));
        assert_eq!(draw(Rng::new(5))[3], 0);
    }

    #[test]
    fn numbers_are_spread_and_a_shuffle_loses_nothing() {
        let mut rng = Rng::new(1);
        let mut seen = [0; 10];
        for _ in 0..10_000 {
            seen[rng.index(10)] += 1;
        }
        assert!(seen.iter().all(|&count| (800..1200).contains(&count)), "{seen:?}");
        let mut row: Vec<u32> = (0..20).collect();
        rng.shuffle(&mut row);
        assert_ne!(row, (0..20).collect::<Vec<_>>());
        row.sort_unstable();
        assert_eq!(row, (0..20).collect::<Vec<_>>());
        assert!((0..100).all(|_| !rng.permille(0) && rng.permille(1000)));
    }
}
