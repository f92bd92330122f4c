//! The tasks of a process, and who awaits whom.

use std::collections::{BTreeMap, BTreeSet};

#[derive(Default)]
pub(crate) struct Tasks {
    list: Vec<Task>,
    places: BTreeMap<u64, usize>,
}

#[derive(Debug, Clone)]
pub(crate) struct Task {
    pub(crate) thread: String,
    pub(crate) id: u64,
    pub(crate) name: String,
    pub(crate) state: String,
    pub(crate) body: String,
    pub(crate) spawned_at: String,
    /// Ids of the tasks that await this one.
    pub(crate) awaiters: Vec<u64>,
    pub(crate) waits: String,
    /// Milliseconds since its last step began; none before the first.
    idle_ms: Option<u64>,
}

/// The form of answers that this command understands.
const GREETING: &str = "ringio 1 ";

impl Tasks {
    /// Adds what a runtime has answered. The error says what is wrong with it.
    pub(crate) fn add(&mut self, answer: &str) -> Result<(), String> {
        let mut lines = answer.lines();
        let first = lines.next().unwrap_or_default();
        let thread = first.strip_prefix(GREETING).ok_or_else(|| match first.starts_with("ringio ") {
            true => format!("in a form that this ringio-ps does not know ({first}); use the one of its version"),
            false => format!("what is no list of tasks: {first:?}"),
        })?;
        let mut ended = false;
        for line in lines {
            match line.strip_prefix("task\t") {
                Some(fields) if !ended => {
                    let task = Task::parse(thread, fields).ok_or_else(|| format!("what is no task: {line:?}"))?;
                    self.insert(task);
                }
                Some(_) | None if line != "end" => return Err(format!("what is no task: {line:?}")),
                Some(_) | None => ended = true,
            }
        }
        if ended { Ok(()) } else { Err("half a list of tasks".to_owned()) }
    }

    pub(crate) fn insert(&mut self, task: Task) {
        self.places.insert(task.id, self.list.len());
        self.list.push(task);
    }

    /// In the order they were made.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Task> {
        self.places.values().map(|&place| &self.list[place])
    }

    pub(crate) fn find(&self, id: u64) -> Option<&Task> {
        Some(&self.list[*self.places.get(&id)?])
    }

    /// The tasks that each task awaits, in the order they were made.
    pub(crate) fn awaited(&self) -> BTreeMap<u64, Vec<&Task>> {
        let mut awaited: BTreeMap<u64, Vec<&Task>> = BTreeMap::new();
        for task in self.all() {
            for awaiter in self.awaiters(task) {
                awaited.entry(awaiter.id).or_default().push(task);
            }
        }
        awaited
    }

    /// The awaiters that are in the list: one may have ended just then.
    pub(crate) fn awaiters<'a>(&'a self, task: &'a Task) -> impl Iterator<Item = &'a Task> {
        task.awaiters.iter().filter_map(|&id| self.find(id))
    }

    /// Each circle of tasks that await each other, the first one again at its end.
    pub(crate) fn cycles(&self) -> Vec<Vec<&Task>> {
        let awaited = self.awaited();
        let below = |task: &Task| awaited.get(&task.id).map_or(&[][..], Vec::as_slice);
        let (mut cycles, mut seen) = (Vec::new(), BTreeSet::new());
        for root in self.all() {
            if !seen.insert(root.id) {
                continue;
            }
            // Each task on the way down, and how many of those below it were looked at.
            let mut path: Vec<(&Task, usize)> = vec![(root, 0)];
            let mut on_path = BTreeSet::from([root.id]);
            while let Some((task, looked_at)) = path.last_mut() {
                let Some(&next) = below(task).get(*looked_at) else {
                    on_path.remove(&task.id);
                    path.pop();
                    continue;
                };
                *looked_at += 1;
                if on_path.contains(&next.id) {
                    let circle = path.iter().map(|(task, _)| *task).skip_while(|task| task.id != next.id);
                    cycles.push(circle.chain([next]).collect());
                } else if seen.insert(next.id) {
                    on_path.insert(next.id);
                    path.push((next, 0));
                }
            }
        }
        cycles
    }
}

impl Task {
    fn parse(thread: &str, fields: &str) -> Option<Task> {
        let fields: Vec<String> = fields.split('\t').map(unescaped).collect();
        let [id, name, state, body, spawned_at, awaiters, waits, idle_ms] = fields.try_into().ok()?;
        let awaiters: Result<Vec<u64>, _> = awaiters.split(',').filter(|id| !id.is_empty()).map(str::parse).collect();
        let (id, awaiters) = (id.parse().ok()?, awaiters.ok()?);
        let idle_ms = if idle_ms.is_empty() { None } else { Some(idle_ms.parse().ok()?) };
        Some(Task { thread: thread.to_owned(), id, name, state, body, spawned_at, awaiters, waits, idle_ms })
    }

    /// A task may have an empty name, or one that would do things to a terminal.
    pub(crate) fn label(&self) -> String {
        if self.name.is_empty() {
            return format!("(task {})", self.id);
        }
        let shown =
            |letter: char| if letter.is_control() { letter.escape_default().to_string() } else { letter.into() };
        self.name.chars().map(shown).collect()
    }

    /// The function whose future the task runs, and where the task was made.
    pub(crate) fn stack(&self) -> String {
        format!("{} {}", self.body.trim_end_matches("::{{closure}}"), self.spawned_at)
    }

    /// How long it has been waiting.
    pub(crate) fn idle(&self) -> String {
        self.idle_ms.map_or_else(String::new, |ms| format!("{}.{:03} s", ms / 1000, ms % 1000))
    }

    /// What it does, or what it waits for. What the runtime has no list of (a lock, a queue, somebody else's future) is
    /// not named.
    pub(crate) fn waits(&self) -> &str {
        if self.waits.is_empty() { &self.state } else { &self.waits }
    }
}

fn unescaped(field: &str) -> String {
    let mut letters = field.chars();
    let mut text = String::new();
    while let Some(letter) = letters.next() {
        text.push(match (letter, letter == '\\') {
            (_, true) => match letters.next() {
                Some('t') => '\t',
                Some('n') => '\n',
                Some(other) => other,
                None => '\\',
            },
            (plain, false) => plain,
        });
    }
    text
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Tasks named `Task-ID`, and who awaits each.
    pub(crate) fn tasks(edges: &[(u64, &[u64])]) -> Tasks {
        let lines = edges.iter().map(|(id, awaiters)| {
            let awaiters: Vec<String> = awaiters.iter().map(u64::to_string).collect();
            format!(
                "task\t{id}\tTask-{id}\twaiting\ta::b{id}::{{{{closure}}}}\ta.rs:{id}:1\t{}\t\t1250\n",
                awaiters.join(",")
            )
        });
        let answer = format!("ringio 1 77\n{}end\n", lines.collect::<String>());
        let mut tasks = Tasks::default();
        tasks.add(&answer).unwrap();
        tasks
    }

    fn cycles(edges: &[(u64, &[u64])]) -> Vec<Vec<u64>> {
        tasks(edges).cycles().iter().map(|circle| circle.iter().map(|task| task.id).collect()).collect()
    }

    #[test]
    fn circles_are_found_each_once() {
        // IN8
        assert_eq!(cycles(&[(1, &[]), (2, &[1]), (3, &[1, 2])]), [[0; 0]; 0]);
        assert_eq!(cycles(&[(1, &[2]), (2, &[1])]), [[1, 2, 1]]);
        assert_eq!(cycles(&[(1, &[1])]), [[1, 1]]);
        // Two through the same task.
        assert_eq!(cycles(&[(1, &[2, 3]), (2, &[1]), (3, &[1])]), [[1, 2, 1], [1, 3, 1]]);
        // Behind a task that is in none.
        assert_eq!(cycles(&[(1, &[]), (2, &[1, 3]), (3, &[2])]), [[2, 3, 2]]);
        // Apart from each other.
        assert_eq!(cycles(&[(1, &[2]), (2, &[1]), (3, &[4]), (4, &[3])]), [[1, 2, 1], [3, 4, 3]]);
    }

    #[test]
    fn a_long_chain_is_no_deep_recursion() {
        let ids: Vec<[u64; 1]> = (0..20_000).map(|id| [id]).collect();
        let edges: Vec<(u64, &[u64])> = ids.iter().map(|awaiter| (awaiter[0] + 1, &awaiter[..])).collect();
        assert_eq!(cycles(&edges), [[0; 0]; 0]);
    }

    #[test]
    fn an_answer_that_is_cut_off_or_foreign_is_refused() {
        // IN7
        let add = |answer: &str| Tasks::default().add(answer);
        assert_eq!(add("ringio 1 7\nend\n"), Ok(()));
        assert_eq!(add("ringio 1 7\ntask\t1\ta\tready\tb\tc\t\t\t\n"), Err("half a list of tasks".to_owned()));
        assert!(add("ringio 1 7\ntask\t1\ta\nend\n").unwrap_err().contains("what is no task"));
        assert!(add("ringio 1 7\nend\ntask\t1\ta\tready\tb\tc\t\t\t\n").unwrap_err().contains("what is no task"));
        assert!(add("ringio 2 7\nend\n").unwrap_err().contains("use the one of its version"));
        assert!(add("").unwrap_err().contains("no list"));
    }

    #[test]
    fn fields_come_out_as_they_went_in() {
        let mut tasks = Tasks::default();
        tasks.add("ringio 1 7\ntask\t5\ta\\tb\\nc\\\\d\tready\tbody\tplace\t9,4\tsleep 1.000 s\t61007\nend\n").unwrap();
        let task = tasks.find(5).unwrap();
        assert_eq!((task.name.as_str(), &task.awaiters[..]), ("a\tb\nc\\d", &[9, 4][..]));
        assert_eq!((task.waits(), task.thread.as_str()), ("sleep 1.000 s", "7"));
        assert_eq!(task.idle(), "61.007 s");
    }
}
