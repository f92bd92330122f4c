//! The tasks as trees: below each those that it awaits (IN6).

use std::fmt::Write;

use crate::tasks::{Task, Tasks};

/// What is still to be drawn: a task, what stands before its line, and whether others follow at its place.
struct Pending<'a> {
    task: &'a Task,
    indent: String,
    is_last: bool,
}

/// The roots are the tasks that nobody awaits. One that several await stands below each of them.
pub(crate) fn tree(tasks: &Tasks) -> Result<String, String> {
    let cycles = tasks.cycles();
    if !cycles.is_empty() {
        return Err(complaint(&cycles));
    }
    let awaited = tasks.awaited();
    let roots = tasks.all().filter(|task| tasks.awaiters(task).next().is_none());
    let mut text = String::new();
    for root in roots {
        let mut pending = vec![Pending { task: root, indent: String::new(), is_last: true }];
        while let Some(Pending { task, indent, is_last }) = pending.pop() {
            let (branch, beside) = if is_last { ("└── ", "    ") } else { ("├── ", "│   ") };
            let below = format!("{indent}{beside}");
            let line = format!("{indent}{branch}(T) {}\n{below}└── {}, {}\n", task.label(), task.stack(), waits(task));
            text.push_str(&line);
            let children = awaited.get(&task.id).map_or(&[][..], Vec::as_slice);
            let (last, indent) = (children.len().saturating_sub(1), format!("{below}    "));
            let children = children.iter().enumerate().rev();
            pending.extend(children.map(|(place, &task)| Pending {
                task,
                indent: indent.clone(),
                is_last: place == last,
            }));
        }
    }
    Ok(text)
}

fn waits(task: &Task) -> String {
    let idle = task.idle();
    if idle.is_empty() { task.waits().to_owned() } else { format!("{} (idle {idle})", task.waits()) }
}

/// IN8
fn complaint(cycles: &[Vec<&Task>]) -> String {
    let mut text = "tasks await each other in a circle and will never end; `ringio-ps ps` shows them all".to_owned();
    for circle in cycles {
        let names: Vec<String> = circle.iter().map(|task| task.label()).collect();
        write!(text, "\n  {}", names.join(" -> ")).expect("a String takes everything");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tasks::tests::tasks;

    #[test]
    fn awaited_tasks_stand_below_each_that_awaits_them() {
        // IN6
        let text = tree(&tasks(&[(1, &[]), (2, &[1]), (3, &[1]), (4, &[2, 3]), (5, &[])])).unwrap();
        let expected = "\
└── (T) Task-1
    └── a::b1 a.rs:1:1, waiting (idle 1.250 s)
        ├── (T) Task-2
        │   └── a::b2 a.rs:2:1, waiting (idle 1.250 s)
        │       └── (T) Task-4
        │           └── a::b4 a.rs:4:1, waiting (idle 1.250 s)
        └── (T) Task-3
            └── a::b3 a.rs:3:1, waiting (idle 1.250 s)
                └── (T) Task-4
                    └── a::b4 a.rs:4:1, waiting (idle 1.250 s)
└── (T) Task-5
    └── a::b5 a.rs:5:1, waiting (idle 1.250 s)
";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_circle_is_refused_by_name() {
        // IN8
        let complaint = tree(&tasks(&[(1, &[2]), (2, &[1])])).unwrap_err();
        assert!(complaint.ends_with("\n  Task-1 -> Task-2 -> Task-1"), "{complaint}");
    }

    #[test]
    fn an_awaiter_that_is_not_there_makes_no_orphan() {
        // IN8
        let text = tree(&tasks(&[(3, &[9])])).unwrap();
        assert!(text.starts_with("└── (T) Task-3\n"), "{text}");
    }
}
