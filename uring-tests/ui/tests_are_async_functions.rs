//! The misuses of `#[ringio::test]`.

#[ringio::test] //~
fn not_async() {} //~ `#[ringio::test]` belongs on an `async fn`; write `async` before `fn`

#[ringio::test] //~
async fn arguments(_count: u32) {} //~ belongs on a function without arguments

#[ringio::test(flavour = "strong")] //~ has no option `flavour`
async fn unknown_option() {} //~

#[ringio::test] //~
async fn returns_a_number() -> u32 { 7 } //~ the trait bound `u32: Termination` is not satisfied

#[ringio::test]
#[should_panic(expected = "as it should")]
async fn panics() {
    panic!("as it should")
}

#[ringio::test]
async fn ends_well() -> Result<(), ringio::CancelledError> {
    ringio::yield_now().await
}
