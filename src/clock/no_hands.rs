//! Without the simulation there is only the clock of the machine.

#[derive(Debug, Clone, Default)]
pub(super) struct Hands {}

impl Hands {
    #[inline]
    pub(super) fn read(&self) -> Option<u64> {
        None
    }
}
