//! Context variables: values that a task finds as its creator left them.

use std::{
    any::Any,
    fmt,
    marker::PhantomData,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::executor::{Runner, Vars, current_vars, own_vars};

/// A variable with a value of its own in every context: usually a `static`. A task begins with a copy of its creator's
/// context, so that what either of them sets later is not seen by the other. So do done callbacks, calls from other
/// threads, and functions given to [`to_thread`](crate::to_thread), which is why values have to be `Send + Sync`.
///
/// ```
/// static USER: ringio::ContextVar<String> = ringio::ContextVar::new("user");
///
/// ringio::run(async {
///     USER.set("ada".to_owned());
///     let task = ringio::create_task(async {
///         let inherited = USER.get();
///         USER.set("eve".to_owned());
///         Ok::<_, ringio::CancelledError>(inherited)
///     });
///     assert_eq!(task.await.unwrap().as_deref(), Some("ada"));
///     assert_eq!(USER.get().as_deref(), Some("ada"));
/// });
/// ```
#[doc(alias = "contextvars.ContextVar")]
pub struct ContextVar<T> {
    name: &'static str,
    /// Zero until it is needed.
    number: AtomicU64,
    _value: PhantomData<fn() -> T>,
}

impl<T: Clone + Send + Sync + 'static> ContextVar<T> {
    /// A variable that has no value anywhere.
    pub const fn new(name: &'static str) -> ContextVar<T> {
        ContextVar { name, number: AtomicU64::new(0), _value: PhantomData }
    }

    /// The value in the current context.
    pub fn get(&self) -> Option<T> {
        self.get_in(&current_vars()?)
    }

    /// Gives it another value in the current context, until that is taken back with [`ContextVar::reset`].
    pub fn set(&self, value: T) -> Token<T> {
        let vars = own_vars();
        let before = vars.set(self.number(), Some(Arc::new(value)));
        Token { vars, number: self.number(), before, _value: PhantomData }
    }

    /// Gives it back the value that it had before the [`ContextVar::set`] that gave the token, in the context where that
    /// was.
    ///
    /// # Panics
    /// With the token of another variable.
    pub fn reset(&self, token: Token<T>) {
        assert_eq!(token.number, self.number(), "the token is of another variable than `{}`", self.name);
        let now = token.vars.set(token.number, token.before);
        drop(now);
    }

    /// The name it was made with.
    pub fn name(&self) -> &'static str {
        self.name
    }

    fn get_in(&self, vars: &Vars) -> Option<T> {
        let value = vars.get(self.number())?;
        value.downcast_ref::<T>().cloned()
    }

    fn number(&self) -> u64 {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let known = self.number.load(Ordering::Acquire);
        if known != 0 {
            return known;
        }
        let fresh = NEXT.fetch_add(1, Ordering::Relaxed);
        match self.number.compare_exchange(0, fresh, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => fresh,
            Err(known) => known,
        }
    }
}

impl<T> fmt::Debug for ContextVar<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<ContextVar name='{}'>", self.name)
    }
}

impl Runner {
    /// [`Runner::run`] in a context of its own: what `main` sets stays there.
    ///
    /// # Panics
    /// As [`Runner::run`].
    #[track_caller]
    pub fn run_in<F: IntoFuture>(&mut self, context: &Context, main: F) -> F::Output {
        self.run_with(context.0.clone(), main)
    }
}

/// What a variable was before it was set; for [`ContextVar::reset`].
#[doc(alias = "contextvars.Token")]
pub struct Token<T> {
    vars: Vars,
    number: u64,
    before: Option<Arc<dyn Any + Send + Sync>>,
    _value: PhantomData<fn() -> T>,
}

impl<T> fmt::Debug for Token<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("had_value", &self.before.is_some()).finish_non_exhaustive()
    }
}

/// The values of all context variables. A clone is the same context; [`Context::copy_current`] makes another one.
#[doc(alias = "contextvars.Context")]
#[derive(Clone, Default)]
pub struct Context(Vars);

impl Context {
    /// A context in which no variable has a value.
    pub fn new() -> Context {
        Context::default()
    }

    /// A copy of the current one.
    #[doc(alias = "contextvars.copy_context")]
    pub fn copy_current() -> Context {
        Context(current_vars().and_then(|vars| vars.copied()).unwrap_or_default())
    }

    pub(super) fn of(vars: Vars) -> Context {
        Context(vars)
    }

    pub(super) fn into_vars(self) -> Vars {
        self.0
    }

    /// The value of a variable in this context.
    pub fn get<T: Clone + Send + Sync + 'static>(&self, variable: &ContextVar<T>) -> Option<T> {
        variable.get_in(&self.0)
    }

    /// Calls `call` in this context: what it sets stays here.
    ///
    /// ```
    /// static LEVEL: ringio::ContextVar<u8> = ringio::ContextVar::new("level");
    /// let context = ringio::Context::new();
    /// context.run(|| LEVEL.set(3));
    /// assert_eq!((context.get(&LEVEL), LEVEL.get()), (Some(3), None));
    /// ```
    pub fn run<R>(&self, call: impl FnOnce() -> R) -> R {
        self.0.enter(call)
    }
}

impl PartialEq for Context {
    /// Whether they are the same context.
    fn eq(&self, other: &Context) -> bool {
        self.0.is(&other.0)
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.content().map_or(0, |entries| entries.len());
        f.debug_struct("Context").field("variables", &count).finish()
    }
}
