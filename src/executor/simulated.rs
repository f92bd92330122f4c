//! Runtimes in a simulated kernel.

use super::RunnerBuilder;
use crate::driver::World;

impl RunnerBuilder {
    /// Runs in a simulated kernel instead of the one that is there.
    pub(crate) fn simulated(mut self, world: World) -> RunnerBuilder {
        self.config.world = Some(world);
        self.handle_ctrl_c(false)
    }
}
