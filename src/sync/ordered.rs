//! Queues in other orders than that of coming in.

use std::{fmt, ops::Deref};

use super::{
    order::{Lifo, Smallest},
    queue::Queue,
};

/// A [`Queue`] that gives out the smallest item first, and equal ones in the order they were put.
///
/// `T`'s order must not use the queue it is in.
///
/// ```
/// # ringio::run(async {
/// let queue = ringio::PriorityQueue::new(0);
/// queue.put((2, "read")).await?;
/// queue.put((1, "eat")).await?;
/// assert_eq!(queue.get().await?.1, "eat");
/// # Ok::<_, ringio::Error>(()) }).unwrap();
/// ```
#[doc(alias = "asyncio.PriorityQueue")]
pub struct PriorityQueue<T: Ord>(Queue<T, Smallest<T>>);

/// A [`Queue`] that gives out the newest item first.
///
/// ```
/// # ringio::run(async {
/// let queue = ringio::LifoQueue::new(0);
/// queue.put("old").await?;
/// queue.put("new").await?;
/// assert_eq!(queue.get().await?, "new");
/// # Ok::<_, ringio::Error>(()) }).unwrap();
/// ```
#[doc(alias = "asyncio.LifoQueue")]
pub struct LifoQueue<T>(Queue<T, Lifo<T>>);

/// A queue in another order is a queue.
macro_rules! is_a_queue {
    ($($name:ident<T $(: $bound:ident)?> in $order:ident;)*) => {$(
        impl<T $(: $bound)?> $name<T> {
            /// A queue for `maxsize` items; zero is for as many as there is memory for.
            #[track_caller]
            pub fn new(maxsize: usize) -> $name<T> {
                $name(Queue::with_order(maxsize))
            }

            /// A queue without a limit.
            #[track_caller]
            pub fn unbounded() -> $name<T> {
                $name::new(0)
            }
        }

        impl<T $(: $bound)?> Clone for $name<T> {
            fn clone(&self) -> $name<T> {
                $name(self.0.clone())
            }
        }

        impl<T $(: $bound)?> Deref for $name<T> {
            type Target = Queue<T, $order<T>>;

            fn deref(&self) -> &Queue<T, $order<T>> {
                &self.0
            }
        }

        impl<T: $($bound +)? fmt::Debug> fmt::Debug for $name<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}

is_a_queue! {
    PriorityQueue<T: Ord> in Smallest;
    LifoQueue<T> in Lifo;
}
