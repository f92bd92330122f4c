//! In which order a queue gives its items out.

use std::{
    cmp::{Ordering, Reverse},
    collections::{BinaryHeap, VecDeque},
    fmt,
};

/// How a queue keeps its items.
pub trait Order<T>: Default {
    /// An item with what it takes to put it back where it was.
    type Kept;

    /// The name of a queue of this order.
    const NAME: &'static str;

    /// An item comes in.
    fn keep(&mut self, item: T) -> Self::Kept;
    /// An item goes out.
    fn release(kept: Self::Kept) -> T;
    /// Stores an item that has just come in.
    fn push(&mut self, kept: Self::Kept);
    /// Stores an item again that was taken and not used: it is the next one, as it was.
    fn push_back(&mut self, kept: Self::Kept);
    /// Takes the next one.
    fn pop(&mut self) -> Option<Self::Kept>;
    /// How many there are.
    fn len(&self) -> usize;
    /// Shows the items, the next one first where that costs nothing.
    fn list(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result
    where
        T: fmt::Debug;
}

/// First in, first out.
pub struct Fifo<T>(VecDeque<T>);

impl<T> Default for Fifo<T> {
    fn default() -> Fifo<T> {
        Fifo(VecDeque::new())
    }
}

impl<T> Order<T> for Fifo<T> {
    type Kept = T;

    const NAME: &'static str = "Queue";

    #[inline]
    fn keep(&mut self, item: T) -> T {
        item
    }

    #[inline]
    fn release(kept: T) -> T {
        kept
    }

    #[inline]
    fn push(&mut self, kept: T) {
        self.0.push_back(kept);
    }

    fn push_back(&mut self, kept: T) {
        self.0.push_front(kept);
    }

    #[inline]
    fn pop(&mut self) -> Option<T> {
        self.0.pop_front()
    }

    #[inline]
    fn len(&self) -> usize {
        self.0.len()
    }

    fn list(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result
    where
        T: fmt::Debug,
    {
        f.debug_list().entries(&self.0).finish()
    }
}

/// Last in, first out.
pub struct Lifo<T>(Vec<T>);

impl<T> Default for Lifo<T> {
    fn default() -> Lifo<T> {
        Lifo(Vec::new())
    }
}

impl<T> Order<T> for Lifo<T> {
    type Kept = T;

    const NAME: &'static str = "LifoQueue";

    fn keep(&mut self, item: T) -> T {
        item
    }

    fn release(kept: T) -> T {
        kept
    }

    fn push(&mut self, kept: T) {
        self.0.push(kept);
    }

    fn push_back(&mut self, kept: T) {
        self.0.push(kept);
    }

    fn pop(&mut self) -> Option<T> {
        self.0.pop()
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn list(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result
    where
        T: fmt::Debug,
    {
        f.debug_list().entries(self.0.iter().rev()).finish()
    }
}

/// The smallest first; equal ones in the order they came.
pub struct Smallest<T> {
    heap: BinaryHeap<Reverse<Ranked<T>>>,
    numbers: u64,
}

/// An item and when it came.
pub struct Ranked<T> {
    item: T,
    number: u64,
}

impl<T: Ord> Ord for Ranked<T> {
    fn cmp(&self, other: &Ranked<T>) -> Ordering {
        self.item.cmp(&other.item).then(self.number.cmp(&other.number))
    }
}

impl<T: Ord> PartialOrd for Ranked<T> {
    fn partial_cmp(&self, other: &Ranked<T>) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T: Ord> PartialEq for Ranked<T> {
    fn eq(&self, other: &Ranked<T>) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<T: Ord> Eq for Ranked<T> {}

impl<T: Ord> Default for Smallest<T> {
    fn default() -> Smallest<T> {
        Smallest { heap: BinaryHeap::new(), numbers: 0 }
    }
}

impl<T: Ord> Order<T> for Smallest<T> {
    type Kept = Ranked<T>;

    const NAME: &'static str = "PriorityQueue";

    fn keep(&mut self, item: T) -> Ranked<T> {
        self.numbers += 1;
        Ranked { item, number: self.numbers }
    }

    fn release(kept: Ranked<T>) -> T {
        kept.item
    }

    fn push(&mut self, kept: Ranked<T>) {
        self.heap.push(Reverse(kept));
    }

    fn push_back(&mut self, kept: Ranked<T>) {
        self.push(kept);
    }

    fn pop(&mut self) -> Option<Ranked<T>> {
        self.heap.pop().map(|Reverse(kept)| kept)
    }

    fn len(&self) -> usize {
        self.heap.len()
    }

    fn list(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result
    where
        T: fmt::Debug,
    {
        f.debug_list().entries(self.heap.iter().map(|Reverse(kept)| &kept.item)).finish()
    }
}
