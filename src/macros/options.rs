//! What stands in the brackets of an attribute.

use proc_macro::{TokenStream, TokenTree};

use crate::function::Refusal;

pub(crate) struct Options {
    attribute: &'static str,
    tokens: Vec<TokenTree>,
}

impl Options {
    pub(crate) fn parse(attribute: &'static str, arguments: TokenStream) -> Result<Options, Refusal> {
        Ok(Options { attribute, tokens: arguments.into_iter().collect() })
    }

    /// Refuses every option, and says what to do instead.
    pub(crate) fn none_of_them(&self, instead: &str) -> Result<(), Refusal> {
        let Some(first) = self.tokens.first() else { return Ok(()) };
        let message = format!("`#[{}]` has no option `{first}`; {instead}", self.attribute);
        Err(Refusal { message, at: first.span() })
    }
}
