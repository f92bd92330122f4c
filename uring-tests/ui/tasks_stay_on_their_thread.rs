//! A handle of a task, and everything else of a runtime, stays on its thread: contract S6 is the compiler's business.

use ringio::{CancelledError, Runner, StreamReader, TcpStream, create_task};

pub fn send_a_task() {
    let task = create_task(async { Ok::<_, CancelledError>(()) });
    std::thread::spawn(move || task.cancel()); //~ cannot be sent between threads safely
}

pub fn send_the_rest() {
    fn is_send<T: Send>() {}
    is_send::<ringio::AnyTask>(); //~ cannot be sent between threads safely
    is_send::<Runner>(); //~ cannot be sent between threads safely
    is_send::<TcpStream>(); //~ cannot be sent between threads safely
    is_send::<StreamReader>(); //~ cannot be sent between threads safely
    is_send::<CancelledError>();
}
