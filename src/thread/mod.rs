//! What crosses threads.

mod mailbox;
mod post;
mod primitives;

pub use mailbox::{Mailbox, MailboxSender, MailboxStatistics};
