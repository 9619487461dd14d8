//! The counts of one crate: functions, comments, types and returns. syn parses each file. Comments are counted by
//! lines, because syn drops them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

/// Counts of the sources in one folder.
#[derive(Debug, Default)]
pub(crate) struct Source {
    /// Lines of all files.
    pub(crate) lines: usize,
    /// Lines that contain only a comment that is not documentation.
    pub(crate) comment_lines: usize,
    /// The first word of each doc comment.
    pub(crate) doc_openers: Vec<String>,
    /// The number of lines of each function, from its first word to its closing brace.
    pub(crate) functions: Vec<usize>,
    /// `let … else { return; }`, also with `None` or `false`. No log line or assertion shows that this path was taken.
    pub(crate) silent_returns: usize,
    /// Uses of `debug_assert!` and its relatives.
    pub(crate) debug_asserts: usize,
    /// Types by name.
    pub(crate) types: BTreeMap<String, OfType>,
}

/// Counts of one type.
#[derive(Debug, Default)]
pub(crate) struct OfType {
    /// Fields of a struct.
    pub(crate) fields: usize,
    /// Functions in inherent `impl` blocks.
    pub(crate) methods: usize,
    /// Files with inherent `impl` blocks.
    pub(crate) files: BTreeSet<PathBuf>,
}

impl Source {
    /// Reads all files below a folder.
    pub(crate) fn read(folder: &Path) -> Result<Self> {
        let mut source = Self::default();
        for path in files(folder)? {
            let text = std::fs::read_to_string(&path)?;
            let file = syn::parse_file(&text)
                .with_context(|| format!("cannot parse '{}'", path.display()))?;
            source.count_lines(&text);
            let mut visitor = Visitor {
                source: &mut source,
                path,
            };
            visitor.visit_file(&file);
        }
        Ok(source)
    }

    /// Adds the counts of another crate, without its types.
    pub(crate) fn add(&mut self, other: &Self) {
        self.lines += other.lines;
        self.comment_lines += other.comment_lines;
        self.doc_openers.extend(other.doc_openers.iter().cloned());
        self.functions.extend(&other.functions);
        self.silent_returns += other.silent_returns;
        self.debug_asserts += other.debug_asserts;
    }

    /// Returns the number of doc comments whose first word is one of `words`.
    pub(crate) fn vague_openers(&self, words: &[&str]) -> usize {
        let is_vague = |opener: &&String| words.contains(&opener.as_str());
        self.doc_openers.iter().filter(is_vague).count()
    }

    fn count_lines(&mut self, text: &str) {
        let mut in_documentation = false;
        for line in text.lines().map(str::trim_start) {
            self.lines += 1;
            let documentation = line
                .strip_prefix("///")
                .or_else(|| line.strip_prefix("//!"));
            if let (Some(words), false) = (documentation, in_documentation) {
                let word = words.split_whitespace().next().unwrap_or_default();
                self.doc_openers.push(word.to_owned());
            }
            in_documentation = documentation.is_some();
            if line.starts_with("//") && documentation.is_none() {
                self.comment_lines += 1;
            }
        }
    }
}

/// Returns the Rust files below a folder in sorted order, without those of tests.
pub(crate) fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let entries = std::fs::read_dir(folder)
        .with_context(|| format!("cannot read the folder '{}'", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        let is_test = path.file_stem().is_some_and(|stem| stem == "tests");
        if path.is_dir() && !is_test {
            found.extend(files(&path)?);
        } else if !is_test && path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

struct Visitor<'a> {
    source: &'a mut Source,
    path: PathBuf,
}

impl Visitor<'_> {
    fn count_function(&mut self, signature: &syn::Signature, block: &syn::Block) {
        let first = signature.span().start().line;
        let last = block.span().end().line;
        self.source.functions.push(last - first + 1);
    }
}

impl<'ast> Visit<'ast> for Visitor<'_> {
    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        if !is_for_tests(&module.attrs) {
            visit::visit_item_mod(self, module);
        }
    }

    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.count_function(&function.sig, &function.block);
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.count_function(&function.sig, &function.block);
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_item_struct(&mut self, item: &'ast syn::ItemStruct) {
        let of_type = self.source.types.entry(item.ident.to_string()).or_default();
        of_type.fields = item.fields.len();
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        if let (None, syn::Type::Path(path)) = (&item.trait_, &*item.self_ty) {
            let name = path.path.segments.last().map(|last| last.ident.to_string());
            let of_type = self
                .source
                .types
                .entry(name.unwrap_or_default())
                .or_default();
            let functions = item.items.iter();
            of_type.methods += functions
                .filter(|item| matches!(item, syn::ImplItem::Fn(_)))
                .count();
            of_type.files.insert(self.path.clone());
        }
        visit::visit_item_impl(self, item);
    }

    fn visit_local(&mut self, local: &'ast syn::Local) {
        let diverge = local.init.as_ref().and_then(|init| init.diverge.as_ref());
        if diverge.is_some_and(|(_, block)| returns_silently(block)) {
            self.source.silent_returns += 1;
        }
        visit::visit_local(self, local);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        let name = call.path.segments.last().map(|last| last.ident.to_string());
        if name.is_some_and(|name| name.starts_with("debug_assert")) {
            self.source.debug_asserts += 1;
        }
    }
}

/// Returns `true` if a block does nothing but return nothing, `None` or `false`.
fn returns_silently(block: &syn::Expr) -> bool {
    let syn::Expr::Block(block) = block else {
        return false;
    };
    let [syn::Stmt::Expr(syn::Expr::Return(statement), _)] = &block.block.stmts[..] else {
        return false;
    };
    match statement.expr.as_deref() {
        None => true,
        Some(syn::Expr::Path(path)) => path.path.is_ident("None"),
        Some(syn::Expr::Lit(literal)) => {
            matches!(&literal.lit, syn::Lit::Bool(value) if !value.value)
        }
        Some(_) => false,
    }
}

/// Returns `true` for `#[cfg(test)]`.
pub(crate) fn is_for_tests(attributes: &[syn::Attribute]) -> bool {
    attributes
        .iter()
        .filter(|attribute| attribute.path().is_ident("cfg"))
        .filter_map(|attribute| attribute.parse_args::<syn::Meta>().ok())
        .any(|condition| requires_test(&condition))
}

/// Returns `true` for `test`, and for `all(…)` with `test` in it.
fn requires_test(condition: &syn::Meta) -> bool {
    let parts = syn::punctuated::Punctuated::<syn::Meta, syn::Token![,]>::parse_terminated;
    match condition {
        syn::Meta::Path(path) => path.is_ident("test"),
        syn::Meta::List(list) if list.path.is_ident("all") => list
            .parse_args_with(parts)
            .is_ok_and(|conditions| conditions.iter().any(requires_test)),
        _ => false,
    }
}
