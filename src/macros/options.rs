//! What stands in the brackets of an attribute.

use proc_macro::{Span, TokenStream, TokenTree};

use crate::function::Refusal;

/// Options as they were written: a name, and a value if there is one.
pub(crate) struct Options {
    attribute: &'static str,
    list: Vec<Choice>,
}

struct Choice {
    name: String,
    value: Option<String>,
    at: Span,
}

impl Options {
    pub(crate) fn parse(attribute: &'static str, arguments: TokenStream) -> Result<Options, Refusal> {
        let mut list = Vec::new();
        let mut tokens = arguments.into_iter().peekable();
        while let Some(token) = tokens.next() {
            let at = token.span();
            let TokenTree::Ident(name) = token else {
                return Err(refusal(attribute, at, format!("expects the name of an option, not `{token}`")));
            };
            let value = tokens.next_if(|token| is_mark(token, '=')).map(|_| tokens.next());
            let value = match value {
                Some(Some(TokenTree::Literal(value))) => Some(value.to_string()),
                Some(_) => return Err(refusal(attribute, at, format!("expects a value after `{name} =`"))),
                None => None,
            };
            list.push(Choice { name: name.to_string(), value, at });
            if let Some(next) = tokens.next()
                && !is_mark(&next, ',')
            {
                return Err(refusal(attribute, next.span(), format!("expects a comma before `{next}`")));
            }
        }
        Ok(Options { attribute, list })
    }

    /// Refuses every option, and says what to do instead.
    pub(crate) fn none_of_them(mut self, instead: &str) -> Result<(), Refusal> {
        match self.list.pop() {
            None => Ok(()),
            Some(choice) => {
                Err(refusal(self.attribute, choice.at, format!("has no option `{}`; {instead}", choice.name)))
            }
        }
    }

    /// How a test is run: a path or an expression that is called with its future.
    pub(crate) fn into_runner(self) -> Result<String, Refusal> {
        let (mut is_virtual, mut seed, mut faults, mut timeout) = (false, None, None, None);
        for Choice { name, value, at } in self.list {
            let refuse = |why: String| Err(refusal(self.attribute, at, why));
            match (name.as_str(), value) {
                ("virtual_time", None) => is_virtual = true,
                ("faults", None) => faults = Some(at),
                ("seed", Some(number)) if is_number(&number) => seed = Some(number),
                ("seed", _) => return refuse("expects a number for `seed`, as in `seed = 7`".to_owned()),
                ("timeout", Some(number)) if is_seconds(&number) => timeout = Some(number),
                ("timeout", _) => return refuse("expects seconds for `timeout`, as in `timeout = 2.5`".to_owned()),
                ("virtual_time" | "faults", Some(_)) => return refuse(format!("has no value for `{name}`")),
                (_, _) => {
                    let known = "`virtual_time`, `seed = N`, `faults`, `timeout = SECONDS`";
                    return refuse(format!("has no option `{name}`; there are {known}"));
                }
            }
        }
        let run = match (seed, faults) {
            (Some(seed), None) => format!("{}.faults(::ringio::testing::Faults::empty()).run", simulated(&seed)),
            (Some(seed), Some(_)) => format!("{}.run", simulated(&seed)),
            (None, Some(at)) => {
                let why = "draws faults from a seed: write `seed = N` as well".to_owned();
                return Err(refusal(self.attribute, at, why));
            }
            (None, None) if is_virtual => "::ringio::testing::run_virtual".to_owned(),
            (None, None) => "::ringio::run".to_owned(),
        };
        Ok(match timeout {
            Some(seconds) => format!("(|body| {run}(::ringio::test_in_time(body, {seconds} as f64)))"),
            None => run,
        })
    }
}

fn simulated(seed: &str) -> String {
    format!("::ringio::testing::Sim::new({seed}).shuffle_tasks()")
}

fn refusal(attribute: &str, at: Span, why: String) -> Refusal {
    Refusal { message: format!("`#[{attribute}]` {why}"), at }
}

fn is_mark(token: &TokenTree, mark: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == mark)
}

/// As below.
fn is_seconds(literal: &str) -> bool {
    literal.starts_with(|first: char| first.is_ascii_digit())
}

/// The compiler says what else may be wrong with it.
fn is_number(literal: &str) -> bool {
    literal.starts_with(|first: char| first.is_ascii_digit()) && !literal.contains('.')
}
