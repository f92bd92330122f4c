//! The misuses of `#[ringio::main]`, each an error at the word that is wrong.

pub mod not_async {
    #[ringio::main] //~
    fn main() {} //~ belongs on an `async fn`; write `async` before `fn`
}

pub mod arguments {
    #[ringio::main] //~
    async fn main(_count: u32) {} //~ belongs on a function without arguments
}

pub mod type_parameters {
    #[ringio::main] //~
    async fn main<T>() {} //~ belongs on a function without type parameters
}

pub mod qualifier {
    #[ringio::main] //~
    async extern "C" fn main() {} //~ belongs on an `async fn` without `unsafe` or `extern`
}

pub mod no_function {
    #[ringio::main] //~
    pub struct Main; //~ belongs on an `async fn`
}

pub mod option {
    #[ringio::main(threads = 4)] //~ has no option `threads`; for settings of your own call `ringio::Runner::builder()`
    async fn main() {} //~
}

pub mod question_mark {
    #[ringio::main]
    pub async fn main() -> Result<(), std::num::ParseIntError> {
        ringio::sleep(std::time::Duration::ZERO).await?; //~ couldn't convert the error
        let _: u32 = "7".parse()?;
        Ok(())
    }
}

#[ringio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let _: u32 = "7".parse()?;
    ringio::sleep(std::time::Duration::ZERO).await?;
    Ok(())
}
