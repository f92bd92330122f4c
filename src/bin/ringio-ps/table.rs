//! All pending tasks as a table (IN5).

use std::collections::BTreeSet;

use crate::tasks::{Task, Tasks};

const COLUMNS: [&str; 9] = [
    "tid",
    "task id",
    "task name",
    "coroutine stack",
    "awaiter chain",
    "awaiter name",
    "awaiter id",
    "idle",
    "waits for",
];

/// A row for each task and each task that awaits it.
pub(crate) fn table(tasks: &Tasks) -> String {
    let rows: Vec<[String; COLUMNS.len()]> = tasks.all().flat_map(|task| rows(tasks, task)).collect();
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([COLUMNS[column].len()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..COLUMNS.len()).map(width).collect();
    let line = |cells: [&str; COLUMNS.len()]| {
        let padded = cells.iter().zip(&widths).map(|(cell, &width)| format!("{cell:width$}"));
        format!("{}\n", padded.collect::<Vec<_>>().join("  ").trim_end())
    };
    let mut text = line(COLUMNS);
    let dashes = widths.iter().sum::<usize>() + 2 * (COLUMNS.len() - 1);
    text.push_str(&"-".repeat(dashes));
    text.push('\n');
    text.extend(rows.iter().map(|row| line(row.each_ref().map(String::as_str))));
    text
}

fn rows<'a>(tasks: &'a Tasks, task: &'a Task) -> Vec<[String; COLUMNS.len()]> {
    let row = |awaiter: Option<u64>| {
        let known = awaiter.and_then(|id| tasks.find(id));
        [
            task.thread.clone(),
            task.id.to_string(),
            task.label(),
            task.stack(),
            known.map_or_else(String::new, |awaiter| chain(tasks, awaiter)),
            known.map_or_else(String::new, Task::label),
            awaiter.map_or_else(String::new, |id| id.to_string()),
            task.idle(),
            task.waits().to_owned(),
        ]
    };
    match &task.awaiters[..] {
        [] => vec![row(None)],
        awaiters => awaiters.iter().map(|&id| row(Some(id))).collect(),
    }
}

/// From an awaiter to the one that awaits it, and so on, by the first of each; a circle ends with the name it began with.
fn chain(tasks: &Tasks, awaiter: &Task) -> String {
    let mut names = vec![awaiter.label()];
    let (mut seen, mut last) = (BTreeSet::from([awaiter.id]), awaiter);
    while let Some(next) = tasks.awaiters(last).next() {
        names.push(next.label());
        if !seen.insert(next.id) {
            break;
        }
        last = next;
    }
    names.join(" -> ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tasks::tests::tasks;

    #[test]
    fn each_task_has_a_row_for_each_awaiter() {
        // IN5
        let text = table(&tasks(&[(1, &[]), (2, &[1]), (3, &[1, 2])]));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[0],
            "tid  task id  task name  coroutine stack  awaiter chain     awaiter name  awaiter id  idle     waits for"
        );
        assert_eq!(lines[1], "-".repeat(104));
        assert_eq!(
            lines[2],
            "77   1        Task-1     a::b1 a.rs:1:1                                               1.250 s  waiting"
        );
        assert_eq!(
            lines[3],
            "77   2        Task-2     a::b2 a.rs:2:1   Task-1            Task-1        1           1.250 s  waiting"
        );
        assert_eq!(
            lines[4],
            "77   3        Task-3     a::b3 a.rs:3:1   Task-1            Task-1        1           1.250 s  waiting"
        );
        assert_eq!(
            lines[5],
            "77   3        Task-3     a::b3 a.rs:3:1   Task-2 -> Task-1  Task-2        2           1.250 s  waiting"
        );
        assert_eq!(lines.len(), 6);
    }

    #[test]
    fn circles_and_awaiters_that_are_not_there_are_shown() {
        // IN5, IN8
        let text = table(&tasks(&[(1, &[2]), (2, &[1]), (3, &[9])]));
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[2].contains("Task-2 -> Task-1 -> Task-2"), "{text}");
        let last: Vec<&str> = lines[4].split_whitespace().collect();
        assert_eq!(last, ["77", "3", "Task-3", "a::b3", "a.rs:3:1", "9", "1.250", "s", "waiting"]);
    }
}
