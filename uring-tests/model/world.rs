//! The loop as the models see it: a run queue, tasks, and lines in which they wait.

use std::collections::VecDeque;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    New,
    Waiting,
    Dropped,
    Done,
}

pub(crate) struct Task<G> {
    pub(crate) stage: Stage,
    queued: bool,
    /// A cancel that is still to be delivered, of the task, and of the limit around its wait.
    pub(crate) cancelled: bool,
    expired: bool,
    /// A cancel does not take it out of line.
    pub(crate) shielded: bool,
    pub(crate) grant: Option<G>,
    number: u64,
}

pub(crate) struct World<G> {
    pub(crate) ready: VecDeque<usize>,
    pub(crate) tasks: Vec<Task<G>>,
    lines: [Vec<usize>; 4],
    numbers: u64,
}

impl<G> Default for World<G> {
    fn default() -> World<G> {
        World { ready: VecDeque::new(), tasks: Vec::new(), lines: Default::default(), numbers: 0 }
    }
}

impl<G> World<G> {
    pub(crate) fn start(&mut self) -> usize {
        let id = self.tasks.len();
        self.tasks.push(Task {
            stage: Stage::New,
            queued: true,
            cancelled: false,
            expired: false,
            shielded: false,
            grant: None,
            number: 0,
        });
        self.ready.push_back(id);
        id
    }

    pub(crate) fn unfinished(&self) -> Vec<usize> {
        (0..self.tasks.len()).filter(|&id| self.tasks[id].stage != Stage::Done).collect()
    }

    pub(crate) fn wake(&mut self, id: usize) {
        let task = &mut self.tasks[id];
        if !task.queued && task.stage != Stage::Done {
            task.queued = true;
            self.ready.push_back(id);
        }
    }

    pub(crate) fn next(&mut self) -> Option<usize> {
        let id = self.ready.pop_front()?;
        self.tasks[id].queued = false;
        Some(id)
    }

    pub(crate) fn cancel(&mut self, id: usize) {
        self.tasks[id].cancelled = true;
        self.wake(id);
    }

    pub(crate) fn expire(&mut self, id: usize) {
        self.tasks[id].expired = true;
        self.wake(id);
    }

    /// Whether a cancel has come; it is delivered.
    pub(crate) fn deliver(&mut self, id: usize) -> bool {
        let task = &mut self.tasks[id];
        let came = task.cancelled || task.expired;
        (task.cancelled, task.expired) = (false, false);
        came
    }

    fn is_doomed(&self, id: usize) -> bool {
        let task = &self.tasks[id];
        !task.shielded && (task.cancelled || task.expired)
    }

    pub(crate) fn is_in_line(&self, id: usize) -> bool {
        self.lines.iter().any(|line| line.contains(&id))
    }

    pub(crate) fn join(&mut self, id: usize, line: usize) {
        if self.tasks[id].number == 0 {
            self.numbers += 1;
            self.tasks[id].number = self.numbers;
        }
        let number = self.tasks[id].number;
        let at = self.lines[line].iter().take_while(|&&other| self.tasks[other].number < number).count();
        self.lines[line].insert(at, id);
    }

    /// To the end of another line, or its first.
    pub(crate) fn renumber(&mut self, id: usize) {
        self.tasks[id].number = 0;
    }

    pub(crate) fn leave(&mut self, id: usize) {
        for line in &mut self.lines {
            line.retain(|&other| other != id);
        }
    }

    /// The first to whom no cancel is on its way; those before it lose their place until they run.
    pub(crate) fn first(&mut self, line: usize) -> Option<usize> {
        while let Some(&id) = self.lines[line].first() {
            if !self.is_doomed(id) {
                return Some(id);
            }
            self.lines[line].remove(0);
        }
        None
    }

    /// Whether there was somebody to grant it to.
    pub(crate) fn grant(&mut self, line: usize, grant: G) -> Option<usize> {
        let id = self.first(line)?;
        self.lines[line].remove(0);
        self.tasks[id].grant = Some(grant);
        self.wake(id);
        Some(id)
    }

    pub(crate) fn pass_on(&mut self, from: usize, to: usize) -> Option<usize> {
        let id = self.first(from)?;
        self.lines[from].remove(0);
        self.renumber(id);
        self.join(id, to);
        Some(id)
    }

    pub(crate) fn count(&self, line: usize) -> usize {
        self.lines[line].iter().filter(|&&id| !self.is_doomed(id)).count()
    }
}
