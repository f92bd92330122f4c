//! Which loads is an echo compared under? Guards: a cell has one name (`C50:64:16`), in tables, JSON and on the command line.

use std::{fmt, str::FromStr};

/// So many connections, messages of this size, this many of them in flight on each connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Cell {
    pub(crate) connections: usize,
    pub(crate) size: usize,
    pub(crate) pipeline: usize,
}

impl Cell {
    /// Connections {1, 50, 1000, 5000} x size {64, 1024, 16384} x pipeline {1, 16}.
    pub(crate) fn all() -> Vec<Cell> {
        let mut cells = Vec::new();
        for connections in [1, 50, 1000, 5000] {
            for size in [64, 1024, 16384] {
                for pipeline in [1, 16] {
                    cells.push(Cell { connections, size, pipeline });
                }
            }
        }
        cells
    }

    /// The four cells that tell most: latency alone, the CPU of an echo, bursts, cold memory.
    pub(crate) fn quick() -> Vec<Cell> {
        [(1, 64, 1), (50, 64, 1), (50, 16384, 16), (1000, 64, 1)]
            .map(|(connections, size, pipeline)| Cell { connections, size, pipeline })
            .to_vec()
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("C{}:{}:{}", self.connections, self.size, self.pipeline);
        f.pad(&text)
    }
}

impl FromStr for Cell {
    type Err = String;

    fn from_str(text: &str) -> Result<Cell, String> {
        let wrong = || format!("'{text}' is not a cell: write C50:64:1 for connections:size:pipeline");
        let mut numbers = text.trim_start_matches(['C', 'c']).split(':').map(str::parse::<usize>);
        let mut next = || numbers.next().and_then(Result::ok).filter(|&n| n > 0).ok_or_else(wrong);
        let cell = Cell { connections: next()?, size: next()?, pipeline: next()? };
        if numbers.next().is_some() { Err(wrong()) } else { Ok(cell) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cell_name_parses_back() {
        for cell in Cell::all() {
            assert_eq!(cell.to_string().parse::<Cell>(), Ok(cell));
        }
        assert!("C50:64".parse::<Cell>().is_err());
        assert!("C50:0:1".parse::<Cell>().is_err());
        assert!("C50:64:1:1".parse::<Cell>().is_err());
    }
}
