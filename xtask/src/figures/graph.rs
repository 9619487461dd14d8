//! The graph of the modules of one crate. It has an edge for each path in one module that leads to another module.
//! Circles are the strongly connected components of the graph. A module is a file; inline modules belong to their file.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use petgraph::graph::{DiGraph, NodeIndex};
use syn::visit::{self, Visit};

use super::source::{files, is_for_tests};

/// Returns the circles of modules below `folder`, longest first, each with the names of its modules.
pub(crate) fn circles(folder: &Path) -> Result<Vec<Vec<String>>> {
    let mut modules = BTreeMap::new();
    let mut graph = DiGraph::new();
    for path in files(folder)? {
        let relative = path.strip_prefix(folder)?;
        let name = module_path(relative);
        if relative.starts_with("bin") {
            continue;
        }
        modules.insert(name.clone(), (graph.add_node(name), path));
    }
    let by_name: BTreeMap<_, _> = modules
        .iter()
        .map(|(name, (node, _))| (name.clone(), *node))
        .collect();
    for (name, (node, path)) in &modules {
        let text = std::fs::read_to_string(path)?;
        let file =
            syn::parse_file(&text).with_context(|| format!("cannot parse '{}'", path.display()))?;
        let mut visitor = Paths {
            module: name,
            modules: &by_name,
            found: Vec::new(),
        };
        visitor.visit_file(&file);
        for other in visitor.found {
            if other != *node {
                graph.update_edge(*node, other, ());
            }
        }
    }
    let mut circles: Vec<_> = petgraph::algo::tarjan_scc(&graph)
        .into_iter()
        .filter(|circle| circle.len() > 1)
        .map(|circle| names(&graph, &circle))
        .collect();
    circles.sort_by_key(|circle| std::cmp::Reverse(circle.len()));
    Ok(circles)
}

fn names(graph: &DiGraph<Vec<String>, ()>, circle: &[NodeIndex]) -> Vec<String> {
    let name = |node: &NodeIndex| {
        let segments = &graph[*node];
        if segments.is_empty() {
            "root".to_owned()
        } else {
            segments.join("::")
        }
    };
    let mut names: Vec<_> = circle.iter().map(name).collect();
    names.sort();
    names
}

/// Returns the path of the module of a file: `server/mod.rs` is `server`, and `lib.rs` is the root without segments.
fn module_path(file: &Path) -> Vec<String> {
    let without_extension = file.with_extension("");
    let mut segments: Vec<_> = without_extension
        .iter()
        .map(|segment| segment.to_string_lossy().into_owned())
        .collect();
    if matches!(
        segments.last().map(String::as_str),
        Some("mod" | "lib" | "main")
    ) {
        segments.pop();
    }
    segments
}

/// Collects the modules to which the paths in one module lead.
struct Paths<'a> {
    module: &'a [String],
    modules: &'a BTreeMap<Vec<String>, NodeIndex>,
    found: Vec<NodeIndex>,
}

impl Paths<'_> {
    /// Adds the module to which a path leads: the longest prefix of the path that is a module.
    fn add(&mut self, segments: &[String]) {
        let mut absolute: Vec<String> = match segments.first().map(String::as_str) {
            Some("crate") => Vec::new(),
            Some("self") => self.module.to_vec(),
            Some("super") => self.module[..self.module.len().saturating_sub(1)].to_vec(),
            Some(first) => {
                // A path may begin with a submodule of this module.
                let mut child = self.module.to_vec();
                child.push(first.to_owned());
                if !self.modules.contains_key(&child) {
                    return;
                }
                child.pop();
                child
            }
            None => return,
        };
        let keywords = ["crate", "self", "super"];
        let mut rest = segments;
        if keywords.contains(&segments[0].as_str()) {
            rest = &segments[1..];
        }
        for segment in rest {
            if segment == "super" {
                absolute.pop();
            } else {
                absolute.push(segment.clone());
            }
        }
        while !self.modules.contains_key(&absolute) {
            if absolute.pop().is_none() {
                return;
            }
        }
        if let Some(node) = self.modules.get(&absolute) {
            self.found.push(*node);
        }
    }

    fn add_tree(&mut self, tree: &syn::UseTree, prefix: &mut Vec<String>) {
        match tree {
            syn::UseTree::Path(path) => {
                prefix.push(path.ident.to_string());
                self.add_tree(&path.tree, prefix);
                prefix.pop();
            }
            syn::UseTree::Group(group) => {
                for tree in &group.items {
                    self.add_tree(tree, prefix);
                }
            }
            syn::UseTree::Name(syn::UseName { ident })
            | syn::UseTree::Rename(syn::UseRename { ident, .. }) => {
                prefix.push(ident.to_string());
                self.add(prefix);
                prefix.pop();
            }
            syn::UseTree::Glob(_) => self.add(prefix),
        }
    }
}

impl<'ast> Visit<'ast> for Paths<'_> {
    /// Skips `pub(in path)`: it names no item of that module.
    fn visit_vis_restricted(&mut self, _: &'ast syn::VisRestricted) {}

    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        if !is_for_tests(&module.attrs) {
            visit::visit_item_mod(self, module);
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.add_tree(&item.tree, &mut Vec::new());
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<_> = path
            .segments
            .iter()
            .map(|segment| segment.ident.to_string())
            .collect();
        if segments.len() > 1 {
            self.add(&segments);
        }
        visit::visit_path(self, path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).expect("a file can be written");
        }
        folder
    }

    #[test]
    fn finds_a_cycle_of_two_modules() {
        let files = [
            ("lib.rs", "mod a; mod b; mod c;"),
            ("a.rs", "use crate::b::B; pub struct A;"),
            ("b.rs", "fn f(_: super::a::A) {} pub struct B;"),
            ("c.rs", "use crate::{a::A, b::B};"),
        ];
        let folder = tree(&files);
        assert_eq!(circles(folder.path()).expect("sources"), [["a", "b"]]);
    }

    #[test]
    fn finds_a_cycle_through_the_root_module() {
        let files = [
            ("lib.rs", "mod a; pub use a::A; pub struct Role;"),
            ("a.rs", "use crate::Role; pub struct A(Role);"),
        ];
        let folder = tree(&files);
        assert_eq!(circles(folder.path()).expect("sources"), [["a", "root"]]);
    }
}
