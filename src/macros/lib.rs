//! The attributes `#[ringio::main]` and `#[ringio::test]`. Programs name them through `ringio`.
//!
//! Both move the function, as it stands, into a plain one of the same name that runs it. They take apart no more than the
//! line the function begins with, so that no parser of the whole language has to be built first.

mod function;
mod options;

use proc_macro::TokenStream;

use function::{Function, Refusal};
use options::Options;

/// Runs `async fn main` by [`ringio::run`](https://docs.rs/ringio/latest/ringio/fn.run.html), and returns what it returns.
///
/// It takes no options: a program with settings of its own makes a `Runner`.
///
/// ```
/// #[ringio::main]
/// async fn main() -> Result<(), ringio::CancelledError> {
///     ringio::sleep(std::time::Duration::from_millis(1)).await?;
///     println!("hello");
///     Ok(())
/// }
/// ```
#[doc(alias = "asyncio.run")]
#[proc_macro_attribute]
pub fn main(arguments: TokenStream, item: TokenStream) -> TokenStream {
    expand("ringio::main", arguments, item, |options, function| {
        options.none_of_them("for settings of your own call `ringio::Runner::builder()` in a plain `fn main`")?;
        Ok(function.into_run("", "::ringio::run"))
    })
}

/// Makes a `#[test]` of an `async fn`, which runs by
/// [`ringio::run`](https://docs.rs/ringio/latest/ringio/fn.run.html). It fails if it panics or returns an error. Other
/// attributes (`#[should_panic]`, `#[cfg(..)]`) work as on any test.
///
/// ```
/// #[ringio::test]
/// async fn a_task_gives_its_result() -> Result<(), ringio::CancelledError> {
///     let task = ringio::create_task(async { Ok::<_, ringio::CancelledError>(6 * 7) });
///     assert_eq!(task.await?, 42);
///     Ok(())
/// }
/// # fn main() {}
/// ```
///
/// With `timeout = SECONDS` it fails when it takes longer, and says what its tasks wait for. One that keeps its thread busy
/// is not interrupted.
///
/// ```
/// #[ringio::test(timeout = 2.5)]
/// async fn a_wait_ends() {
///     ringio::sleep(std::time::Duration::from_millis(1)).await.unwrap();
/// }
/// # fn main() {}
/// ```
///
/// These options need ringio's feature `testing`; with them, a timeout is one of virtual time:
///
/// * `virtual_time`: in a simulated kernel that is kind, where time jumps to the next timer
///   ([`run_virtual`](https://docs.rs/ringio/latest/ringio/testing/fn.run_virtual.html)).
/// * `seed = N`: the same, and tasks that are ready run in an order that is drawn from the seed.
/// * `seed = N, faults`: besides, the kernel is hostile: what goes wrong is drawn from the seed as well
///   ([`Sim`](https://docs.rs/ringio/latest/ringio/testing/struct.Sim.html)).
///
/// ```
/// # use std::time::Duration;
/// #[ringio::test(virtual_time)]
/// async fn a_day_takes_no_time() -> Result<(), ringio::CancelledError> {
///     ringio::sleep(Duration::from_secs(24 * 3600)).await?;
///     assert_eq!(ringio::testing::elapsed(), Duration::from_secs(24 * 3600));
///     Ok(())
/// }
/// # fn main() {}
/// ```
#[proc_macro_attribute]
pub fn test(arguments: TokenStream, item: TokenStream) -> TokenStream {
    expand("ringio::test", arguments, item, |options, function| {
        let run = options.into_runner()?;
        Ok(function.into_run("#[::core::prelude::v1::test]", &run))
    })
}

/// What is wrong becomes an error of the compiler's at the place where it is wrong, and nothing else does.
fn expand(
    attribute: &'static str,
    arguments: TokenStream,
    item: TokenStream,
    make: impl FnOnce(Options, Function) -> Result<TokenStream, Refusal>,
) -> TokenStream {
    let made = Options::parse(attribute, arguments).and_then(|options| {
        let function = Function::parse(attribute, item.clone())?;
        make(options, function)
    });
    made.unwrap_or_else(|refusal| refusal.into_error(item))
}
