//! The misuses of `#[ringio::test]`.

#[ringio::test] //~
fn not_async() {} //~ `#[ringio::test]` belongs on an `async fn`; write `async` before `fn`

#[ringio::test] //~
async fn arguments(_count: u32) {} //~ belongs on a function without arguments

#[ringio::test(flavour = "strong")] //~ has no option `flavour`; there are `virtual_time`, `seed = N`, `faults`
async fn unknown_option() {} //~

#[ringio::test(seed)] //~ expects a number for `seed`, as in `seed = 7`
async fn seed_without_a_number() {} //~

#[ringio::test(seed = "seven")] //~ expects a number for `seed`
async fn seed_that_is_text() {} //~

#[ringio::test(seed =)] //~ expects a value after `seed =`
async fn seed_without_a_value() {} //~

#[ringio::test(seed = 7, virtual_time = 7)] //~ has no value for `virtual_time`
async fn virtual_time_with_a_value() {} //~

#[ringio::test(virtual_time, faults)] //~ draws faults from a seed: write `seed = N` as well
async fn faults_without_a_seed() {} //~

#[ringio::test(virtual_time seed = 7)] //~ expects a comma before `seed`
async fn no_comma() {} //~

#[ringio::test("virtual_time")] //~ expects the name of an option
async fn quoted() {} //~

#[ringio::test(virtual_time, seed = 0x5eed_1e, faults,)]
async fn all_options() {}

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
