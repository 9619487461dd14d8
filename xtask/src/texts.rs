//! `cargo xtask texts [error] [log] [help] [other]`: lists the texts that users meet, with file and line, so that a reader
//! can review all of them. Without a kind it lists errors, log lines and help.
//!
//! The texts are the string literals with a blank in `crates/*/src`, without tests and the crates for development. The
//! place of a literal in the code determines its kind. Arguments of `log` macros are log lines. Literals of the option
//! tables and of `Help` are help. Arguments of `Err`, `anyhow!`, `context`, `Failure` and the like, and literals in
//! `Display` of an error type, are errors. All other literals are `other`.
//!
//! The list is not complete. A text that is composed from words, or that a constant or function passes on, is `other`.
//! The texts of dependencies, such as clap and rustls, are not in the list.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use proc_macro2::{TokenStream, TokenTree};
use syn::parse::Parser;
use syn::punctuated::Punctuated;
use syn::visit::{self, Visit};

use crate::figures::{files, is_for_tests};
use crate::root;

/// Crates whose texts only developers see.
const DEVELOPMENT: [&str; 3] = ["mqtt-bench", "mqtt-fuzz", "mqtt-sim"];

/// Functions, variants and methods whose arguments are texts of errors.
const ERRORS: &[&str] = &[
    "Corrupt",
    "Err",
    "complain",
    "context",
    "error",
    "fail",
    "failed",
    "failure",
    "map_err",
    "ok_or",
    "ok_or_else",
    "other",
    "unmarked",
    "usage",
    "warn",
    "warn_once",
    "with_context",
    "with_hint",
    "wrong",
];

/// Functions and methods whose arguments are texts of the help.
const HELP: &[&str] = &["about", "flag", "help", "optional", "property", "value"];

/// The use of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Error,
    Log,
    Help,
    Other,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Error, Self::Log, Self::Help, Self::Other];

    fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Log => "log",
            Self::Help => "help",
            Self::Other => "other",
        }
    }
}

/// A string literal in the sources.
#[derive(Debug)]
struct Text {
    kind: Kind,
    path: PathBuf,
    line: usize,
    text: String,
}

/// Prints the texts of the kinds that the options name.
pub(crate) fn run(options: &[&str]) -> Result<()> {
    let mut kinds = Vec::new();
    for option in options {
        match Kind::ALL.into_iter().find(|kind| kind.name() == *option) {
            Some(kind) => kinds.push(kind),
            None => bail!("unknown kind '{option}': expected error, log, help or other"),
        }
    }
    if kinds.is_empty() {
        kinds = vec![Kind::Error, Kind::Log, Kind::Help];
    }
    let mut counts = BTreeMap::new();
    for text in collect(root())? {
        *counts.entry(text.kind).or_insert(0) += 1;
        if kinds.contains(&text.kind) {
            let (path, line, kind) = (text.path.display(), text.line, text.kind.name());
            println!("{path}:{line}: {kind}: {}", text.text.escape_debug());
        }
    }
    let counts: Vec<_> = counts
        .into_iter()
        .map(|(kind, count): (Kind, usize)| format!("{} {count}", kind.name()))
        .collect();
    println!("Texts: {}.", counts.join(", "));
    Ok(())
}

/// Returns all texts of a tree, by file and line.
fn collect(tree: &Path) -> Result<Vec<Text>> {
    let folder = tree.join("crates");
    let entries = std::fs::read_dir(&folder)
        .with_context(|| format!("cannot read the folder '{}'", folder.display()))?;
    let mut texts = Vec::new();
    for entry in entries {
        let entry = entry?;
        let sources = entry.path().join("src");
        let is_for_development = DEVELOPMENT.iter().any(|name| *name == entry.file_name());
        if is_for_development || !sources.is_dir() {
            continue;
        }
        for path in files(&sources)? {
            let source = std::fs::read_to_string(&path)?;
            let file = syn::parse_file(&source)
                .with_context(|| format!("cannot parse '{}'", path.display()))?;
            let mut visitor = Visitor {
                path: path.strip_prefix(tree).unwrap_or(&path).to_owned(),
                kind: Kind::Other,
                texts: &mut texts,
            };
            visitor.visit_file(&file);
        }
    }
    texts.sort_by(|one, other| (&one.path, one.line).cmp(&(&other.path, other.line)));
    Ok(texts)
}

struct Visitor<'a> {
    path: PathBuf,
    /// The kind of the literals in the part that is being visited.
    kind: Kind,
    texts: &'a mut Vec<Text>,
}

impl Visitor<'_> {
    /// Visits a part whose literals are of this kind. Without a kind, the present kind stays.
    fn within(&mut self, kind: Option<Kind>, visit: impl FnOnce(&mut Self)) {
        let before = self.kind;
        self.kind = kind.unwrap_or(before);
        visit(self);
        self.kind = before;
    }

    fn add(&mut self, literal: &syn::LitStr) {
        let text = literal.value();
        if text.trim().contains(' ') {
            self.texts.push(Text {
                kind: self.kind,
                path: self.path.clone(),
                line: literal.span().start().line,
                text,
            });
        }
    }

    fn add_tokens(&mut self, tokens: TokenStream) {
        for token in tokens {
            match token {
                TokenTree::Group(group) => self.add_tokens(group.stream()),
                TokenTree::Literal(literal) => {
                    if let Ok(literal) = syn::parse2::<syn::LitStr>(TokenTree::from(literal).into())
                    {
                        self.add(&literal);
                    }
                }
                _ => {}
            }
        }
    }
}

/// Returns the kind of the arguments of a function or method.
fn kind_of_call(name: &str) -> Option<Kind> {
    if ERRORS.contains(&name) {
        Some(Kind::Error)
    } else if HELP.contains(&name) {
        Some(Kind::Help)
    } else {
        None
    }
}

fn last_name(path: &syn::Path) -> String {
    let last = path.segments.last();
    last.map(|last| last.ident.to_string()).unwrap_or_default()
}

impl<'ast> Visit<'ast> for Visitor<'_> {
    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        if !is_for_tests(&module.attrs) {
            visit::visit_item_mod(self, module);
        }
    }

    fn visit_attribute(&mut self, attribute: &'ast syn::Attribute) {
        // thiserror takes the text from this attribute. Doc comments are attributes, too, and are not visited.
        if let (true, syn::Meta::List(list)) = (attribute.path().is_ident("error"), &attribute.meta)
        {
            self.within(Some(Kind::Error), |this| {
                this.add_tokens(list.tokens.clone())
            });
        }
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        let is_display = item
            .trait_
            .as_ref()
            .is_some_and(|(_, path, _)| last_name(path) == "Display");
        let is_error = match &*item.self_ty {
            syn::Type::Path(path) => last_name(&path.path).ends_with("Error"),
            _ => false,
        };
        let kind = (is_display && is_error).then_some(Kind::Error);
        self.within(kind, |this| visit::visit_item_impl(this, item));
    }

    fn visit_expr_call(&mut self, call: &'ast syn::ExprCall) {
        let kind = match &*call.func {
            syn::Expr::Path(path) => kind_of_call(&last_name(&path.path)),
            _ => None,
        };
        self.within(kind, |this| visit::visit_expr_call(this, call));
    }

    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        self.visit_expr(&call.receiver);
        let kind = kind_of_call(&call.method.to_string());
        self.within(kind, |this| {
            call.args
                .iter()
                .for_each(|argument| this.visit_expr(argument));
        });
    }

    fn visit_expr_struct(&mut self, expression: &'ast syn::ExprStruct) {
        let is_help = ["Help", "Section"].contains(&last_name(&expression.path).as_str());
        let kind = is_help.then_some(Kind::Help);
        self.within(kind, |this| visit::visit_expr_struct(this, expression));
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        let kind = match last_name(&call.path).as_str() {
            "error" | "warn" | "info" | "debug" | "trace" | "log" => Some(Kind::Log),
            "anyhow" | "bail" | "ensure" | "eprint" | "eprintln" => Some(Kind::Error),
            "assert" | "assert_eq" | "assert_ne" | "debug_assert" | "debug_assert_eq"
            | "debug_assert_ne" | "panic" | "unreachable" => return,
            _ => None,
        };
        // The arguments of most macros, such as `vec!`, are expressions that may contain calls.
        let parser = Punctuated::<syn::Expr, syn::Token![,]>::parse_terminated;
        match (kind, parser.parse2(call.tokens.clone())) {
            (None, Ok(arguments)) => {
                let mut nested = Visitor {
                    path: self.path.clone(),
                    kind: self.kind,
                    texts: self.texts,
                };
                arguments
                    .iter()
                    .for_each(|argument| nested.visit_expr(argument));
            }
            _ => self.within(kind, |this| this.add_tokens(call.tokens.clone())),
        }
    }

    fn visit_lit_str(&mut self, literal: &'ast syn::LitStr) {
        self.add(literal);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_a_known_text_of_each_kind() {
        let texts = collect(root()).unwrap();
        for (kind, file, expected) in [
            (
                Kind::Error,
                "listener.rs",
                "Invalid 'mount_point' value ({value}): must not contain '+' or '#'.",
            ),
            (
                Kind::Error,
                "error.rs",
                "cannot listen on {address}: {reason}",
            ),
            (
                Kind::Error,
                "hints.rs",
                "Give a URL with -L, as in '-L mqtt://HOST:PORT/TOPIC'.",
            ),
            (Kind::Log, "reload.rs", "Reloading config."),
            (
                Kind::Help,
                "options.rs",
                "Configuration file, in the language of mosquitto.conf",
            ),
            (
                Kind::Help,
                "options.rs",
                "Run an MQTT broker. Without -c, only programs on this machine can connect",
            ),
        ] {
            let found = texts.iter().find(|text| text.text == expected);
            let found = found.unwrap_or_else(|| panic!("'{expected}' is missing"));
            assert_eq!(found.kind, kind, "{expected}");
            assert!(found.path.ends_with(file), "{expected}: {found:?}");
            assert!(found.line > 1, "{found:?}");
        }
        // Tests and documentation are not read.
        assert!(
            !texts
                .iter()
                .any(|text| text.text.contains("is missing\") {"))
        );
        assert!(
            !texts
                .iter()
                .any(|text| text.text.starts_with(" Prints the texts of the kinds"))
        );
    }
}
