//! Context variables: what a task finds set by whoever made it. Not here: the variables and contexts that users hold
//! (`task/context.rs`).
//!
//! A task has none until it, or its creator, sets one: that costs a null pointer. A copy shares its content until one of
//! the two writes.

use std::{any::Any, cell::RefCell, rc::Rc, sync::Arc};

use super::{Runtime, context};

/// A value and the number of its variable.
type Entry = (u64, Arc<dyn Any + Send + Sync>);

/// The content: sorted by number. It may go to another thread.
pub(crate) type Content = Option<Arc<Vec<Entry>>>;

/// One context, shared by all its clones.
#[derive(Clone, Default)]
pub(crate) struct Vars(Rc<RefCell<Content>>);

thread_local! {
    /// The context of code that runs in no runtime.
    static AMBIENT: RefCell<Option<Vars>> = const { RefCell::new(None) };
}

impl Vars {
    pub(crate) fn of(content: Content) -> Vars {
        Vars(Rc::new(RefCell::new(content)))
    }

    pub(crate) fn content(&self) -> Content {
        self.0.borrow().clone()
    }

    pub(crate) fn copied(&self) -> Option<Vars> {
        self.0.borrow().as_ref().map(|content| Vars::of(Some(content.clone())))
    }

    pub(crate) fn get(&self, number: u64) -> Option<Arc<dyn Any + Send + Sync>> {
        let content = self.0.borrow();
        let entries = content.as_ref()?;
        let at = entries.binary_search_by_key(&number, |entry| entry.0).ok()?;
        Some(entries[at].1.clone())
    }

    /// Returns what was there before.
    pub(crate) fn set(
        &self,
        number: u64,
        value: Option<Arc<dyn Any + Send + Sync>>,
    ) -> Option<Arc<dyn Any + Send + Sync>> {
        let mut entries = self.0.borrow().as_deref().cloned().unwrap_or_default();
        let found = entries.binary_search_by_key(&number, |entry| entry.0);
        let before = match (found, value) {
            (Ok(at), Some(value)) => Some(std::mem::replace(&mut entries[at].1, value)),
            (Ok(at), None) => Some(entries.remove(at).1),
            (Err(at), Some(value)) => {
                entries.insert(at, (number, value));
                None
            }
            (Err(_), None) => None,
        };
        let old = self.0.replace((!entries.is_empty()).then(|| Arc::new(entries)));
        drop(old);
        before
    }

    pub(crate) fn is(&self, other: &Vars) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }

    /// Calls `call` in this context.
    pub(crate) fn enter<R>(&self, call: impl FnOnce() -> R) -> R {
        let _back = Back { before: exchange(Some(self.clone())) };
        call()
    }
}

/// The context of what runs now, if there is one yet.
pub(crate) fn current_vars() -> Option<Vars> {
    context::try_with(Runtime::vars).unwrap_or_else(|| AMBIENT.with_borrow(Clone::clone))
}

/// The context of what runs now.
pub(crate) fn own_vars() -> Vars {
    current_vars().unwrap_or_else(|| {
        let vars = Vars::default();
        match context::current_task() {
            Some(task) => task.core().set_vars(vars.clone()),
            None => drop(exchange(Some(vars.clone()))),
        }
        vars
    })
}

/// The context of code outside of tasks, or one entered for a while.
fn exchange(vars: Option<Vars>) -> Option<Vars> {
    let mut vars = Some(vars);
    let inside = context::try_with(|runtime| runtime.ambient.replace(vars.take().flatten()));
    inside.unwrap_or_else(|| AMBIENT.replace(vars.take().flatten()))
}

struct Back {
    before: Option<Vars>,
}

impl Drop for Back {
    fn drop(&mut self) {
        drop(exchange(self.before.take()));
    }
}

impl Runtime {
    fn vars(&self) -> Option<Vars> {
        let entered = self.ambient.borrow().clone();
        entered.or_else(|| self.current.with(|task| task?.core().vars()))
    }

    /// False when a new task begins with none.
    #[inline]
    pub(super) fn may_have_vars(&self) -> bool {
        self.ambient.borrow().is_some() || self.current.with(|task| task.is_some_and(|task| task.core().has_extra()))
    }

    /// What a new task begins with (CX1).
    pub(super) fn inherited(&self) -> Option<Vars> {
        if let Some(entered) = &*self.ambient.borrow() {
            return entered.copied();
        }
        self.current.with(|task| task?.core().vars()?.copied())
    }

    /// Calls something that belongs to no task, in a context of its own.
    pub(crate) fn outside<R>(&self, vars: Option<Vars>, call: impl FnOnce() -> R) -> R {
        struct Inside<'a>(&'a Runtime, Option<Vars>);
        impl Drop for Inside<'_> {
            fn drop(&mut self) {
                let used = self.0.ambient.replace(self.1.take());
                drop(used);
            }
        }
        // There always is one, so that what it sets reaches no task.
        let vars = Some(vars.unwrap_or_default());
        let _inside = Inside(self, self.ambient.replace(vars));
        self.current.without(|| self.scope.without(call))
    }
}
