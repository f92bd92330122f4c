//! An `async fn` without arguments, as far as it has to be known.

use proc_macro::{Delimiter, Group, Ident, Literal, Punct, Spacing, Span, TokenStream, TokenTree};

pub(crate) struct Function {
    /// Attributes and visibility.
    before: TokenStream,
    name: Ident,
    /// From the brackets after the name up to the body.
    signature: TokenStream,
    body: Group,
}

/// Why an attribute cannot be where it is.
pub(crate) struct Refusal {
    pub(crate) message: String,
    pub(crate) at: Span,
}

impl Function {
    pub(crate) fn parse(attribute: &str, item: TokenStream) -> Result<Function, Refusal> {
        let refuse = |at: Span, why: &str| Refusal { message: format!("`#[{attribute}]` {why}"), at };
        let mut tokens: Vec<TokenTree> = item.into_iter().collect();
        let Some(at_fn) = tokens.iter().position(|token| is_word(token, "fn")) else {
            let at = tokens.first().map_or_else(Span::call_site, TokenTree::span);
            return Err(refuse(at, "belongs on an `async fn`"));
        };
        let Some(TokenTree::Ident(name)) = tokens.get(at_fn + 1).cloned() else {
            return Err(refuse(tokens[at_fn].span(), "belongs on an `async fn` with a name"));
        };
        let Some(at_async) = tokens[..at_fn].iter().position(|token| is_word(token, "async")) else {
            return Err(refuse(tokens[at_fn].span(), "belongs on an `async fn`; write `async` before `fn`"));
        };
        if at_async + 1 != at_fn {
            return Err(refuse(tokens[at_async + 1].span(), "belongs on an `async fn` without `unsafe` or `extern`"));
        }
        let Some(TokenTree::Group(body)) = tokens.pop() else {
            return Err(refuse(name.span(), "belongs on a function with a body"));
        };
        match tokens.get(at_fn + 2) {
            Some(TokenTree::Group(inputs)) if inputs.stream().is_empty() => {}
            Some(TokenTree::Group(inputs)) => {
                return Err(refuse(
                    inputs.span(),
                    "belongs on a function without arguments; make what it needs inside",
                ));
            }
            other => {
                let at = other.map_or_else(|| name.span(), TokenTree::span);
                return Err(refuse(at, "belongs on a function without type parameters"));
            }
        }
        let signature = tokens.split_off(at_fn + 2).into_iter().collect();
        tokens.truncate(at_async);
        Ok(Function { before: tokens.into_iter().collect(), name, signature, body })
    }

    /// The function without `async`, whose body runs the function as it was: what `run` names is called with its future.
    /// The inner one keeps the signature, so that `?` in it knows its type.
    pub(crate) fn into_run(self, attributes: &str, run: &str) -> TokenStream {
        let Function { before, name, signature, body } = self;
        let name = TokenTree::Ident(name);
        let mut inside = parsed("async fn");
        inside.extend([name.clone()]);
        inside.extend(signature.clone());
        inside.extend([TokenTree::Group(body)]);
        inside.extend(parsed(run));
        inside.extend([in_brackets(
            Delimiter::Parenthesis,
            TokenStream::from_iter([name.clone()].into_iter().chain(parsed("()"))),
        )]);
        let mut whole = parsed(attributes);
        whole.extend(before);
        whole.extend(parsed("fn"));
        whole.extend([name]);
        whole.extend(signature);
        whole.extend([in_brackets(Delimiter::Brace, inside)]);
        whole
    }
}

impl Refusal {
    /// A call of `compile_error!`, and an empty function of the same name: that a program has no `main` is not the error.
    pub(crate) fn into_error(self, item: TokenStream) -> TokenStream {
        let mut words = item.into_iter().skip_while(|token| !is_word(token, "fn")).skip(1);
        let mut error = parsed("::core::compile_error");
        let message = in_brackets(Delimiter::Brace, TokenTree::Literal(Literal::string(&self.message)).into());
        error.extend([TokenTree::Punct(Punct::new('!', Spacing::Alone)), message]);
        let mut error: TokenStream = error.into_iter().map(|token| at(self.at, token)).collect();
        if let Some(TokenTree::Ident(name)) = words.next()
            && name.to_string() == "main"
        {
            error.extend(parsed("fn main() {}"));
        }
        error
    }
}

fn at(span: Span, mut token: TokenTree) -> TokenTree {
    token.set_span(span);
    token
}

fn in_brackets(delimiter: Delimiter, tokens: TokenStream) -> TokenTree {
    TokenTree::Group(Group::new(delimiter, tokens))
}

/// Names in it are looked up where the attribute stands.
fn parsed(code: &str) -> TokenStream {
    code.parse().expect("written by us")
}

fn is_word(token: &TokenTree, word: &str) -> bool {
    matches!(token, TokenTree::Ident(ident) if ident.to_string() == word)
}
