//! Things by number, each number used once: what is late finds nothing rather than something else.

use std::{
    collections::BTreeMap,
    ops::{Index, IndexMut},
};

pub(super) struct Arena<T> {
    things: BTreeMap<usize, T>,
    made: usize,
}

impl<T> Default for Arena<T> {
    fn default() -> Arena<T> {
        Arena { things: BTreeMap::new(), made: 0 }
    }
}

impl<T> Arena<T> {
    pub(super) fn insert(&mut self, thing: T) -> usize {
        self.made += 1;
        self.things.insert(self.made, thing);
        self.made
    }

    pub(super) fn contains(&self, number: usize) -> bool {
        self.things.contains_key(&number)
    }

    pub(super) fn first(&self) -> Option<usize> {
        self.things.keys().next().copied()
    }

    pub(super) fn numbers(&self) -> impl Iterator<Item = usize> + '_ {
        self.things.keys().copied()
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &T> + '_ {
        self.things.values()
    }

    pub(super) fn get(&self, number: usize) -> Option<&T> {
        self.things.get(&number)
    }

    pub(super) fn get_mut(&mut self, number: usize) -> Option<&mut T> {
        self.things.get_mut(&number)
    }

    pub(super) fn remove(&mut self, number: usize) -> T {
        self.things.remove(&number).expect("it is there")
    }
}

impl<T> Index<usize> for Arena<T> {
    type Output = T;

    fn index(&self, number: usize) -> &T {
        &self.things[&number]
    }
}

impl<T> IndexMut<usize> for Arena<T> {
    fn index_mut(&mut self, number: usize) -> &mut T {
        self.things.get_mut(&number).expect("it is there")
    }
}
