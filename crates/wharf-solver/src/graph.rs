//! A definition as a graph: decoded, checked, each vertex known by the digest of its bytes (`solver/pb/ops.proto`).

use std::collections::{BTreeMap, HashMap};

use bollard_buildkit_proto::pb;
use prost::Message as _;
use wharf_builder::fetch;
use wharf_oci::Digest;

use crate::{Policies, SolveError, SourceRange};

/// Most vertices of a definition.
const MAX_VERTICES: usize = 50_000;
/// Most bytes of an operation.
const MAX_OP: usize = 16 << 20;
/// Most inputs, mounts or actions of an operation.
const MAX_PARTS: usize = 4_096;

/// How many vertices a definition asks for, if it is a graph that could be solved. For who has one of nobody knows whom:
/// nothing of it is done.
///
/// # Errors
/// If it is no graph, or an operation refers to what is not there.
pub fn vertices(definition: &pb::Definition) -> Result<usize, SolveError> {
    let graph = Graph::read(definition, &Policies::default())?;
    crate::keys::definitions(&graph, None);
    Ok(graph.nodes.len())
}

/// A checked definition.
#[derive(Debug, Default)]
pub(crate) struct Graph {
    /// Inputs come before those who need them.
    pub(crate) nodes: Vec<Node>,
    /// What is wanted; none for an empty definition, which is an empty tree.
    pub(crate) root: Option<Edge>,
}

/// One output of a vertex.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Edge {
    /// Position among the nodes.
    pub(crate) node: usize,
    /// Which output.
    pub(crate) output: usize,
}

/// A vertex.
#[derive(Debug)]
pub(crate) struct Node {
    /// Digest of its bytes.
    pub(crate) digest: String,
    pub(crate) op: pb::op::Op,
    pub(crate) platform: Option<pb::Platform>,
    pub(crate) inputs: Vec<Edge>,
    /// What its bytes are without the names of its inputs: what it does.
    pub(crate) bare: Digest,
    pub(crate) metadata: pb::OpMetadata,
    pub(crate) sources: Vec<SourceRange>,
}

impl Graph {
    /// Reads a definition that nobody has reason to trust.
    ///
    /// # Errors
    /// If it is no graph, an operation refers to what is not there, or a policy forbids a source.
    pub(crate) fn read(
        definition: &pb::Definition,
        policies: &Policies,
    ) -> Result<Self, SolveError> {
        if definition.def.is_empty() {
            return Ok(Self::default());
        }
        if definition.def.len() > MAX_VERTICES {
            return Err(invalid("definition has too many vertices"));
        }
        let mut ops = HashMap::new();
        let mut last = String::new();
        for bytes in &definition.def {
            if bytes.len() > MAX_OP {
                return Err(invalid("operation is too large"));
            }
            last = Digest::sha256(bytes).to_string();
            let op = pb::Op::decode(&bytes[..])
                .map_err(|error| invalid(format!("failed to parse llb proto op: {error}")))?;
            ops.insert(last.clone(), op);
        }
        let end = ops.get(&last).cloned().unwrap_or_default();
        // The last one only names what is wanted.
        let (None, [wanted]) = (&end.op, &end.inputs[..]) else {
            return Err(invalid("invalid LLB definition: no terminal operation"));
        };
        let order = order(&ops, &wanted.digest)?;
        let places: HashMap<&str, usize> = order.iter().map(String::as_str).zip(0..).collect();
        let sources = Sources::new(definition);
        let mut graph = Self::default();
        for digest in &order {
            let mut op = ops.get(digest).cloned().unwrap_or_default();
            if let Some(pb::op::Op::Source(source)) = &mut op.op {
                policies.apply(source)?;
            }
            let node = graph.node(digest, op, definition, &places, &sources)?;
            graph.nodes.push(node);
        }
        let root = Edge {
            node: order.len() - 1,
            output: index(wanted.index)?,
        };
        graph.check(root)?;
        graph.root = Some(root);
        Ok(graph)
    }

    fn node(
        &self,
        digest: &str,
        mut op: pb::Op,
        definition: &pb::Definition,
        places: &HashMap<&str, usize>,
        sources: &Sources,
    ) -> Result<Node, SolveError> {
        let inputs = std::mem::take(&mut op.inputs);
        let bare = Digest::sha256(&bare(&op).encode_to_vec());
        let Some(kind) = op.op else {
            return Err(invalid("invalid LLB definition: operation without a kind"));
        };
        let inputs = inputs.iter().map(|input| {
            let place = places.get(input.digest.as_str());
            let edge = Edge {
                node: *place.ok_or_else(|| missing(&input.digest))?,
                output: index(input.index)?,
            };
            self.check(edge)?;
            Ok(edge)
        });
        let inputs: Vec<Edge> = inputs.collect::<Result<_, SolveError>>()?;
        check_op(&kind, inputs.len())?;
        Ok(Node {
            digest: digest.to_owned(),
            op: kind,
            platform: op.platform,
            inputs,
            bare,
            metadata: definition.metadata.get(digest).cloned().unwrap_or_default(),
            sources: sources.of(digest),
        })
    }

    /// Whether the vertex has the output.
    fn check(&self, edge: Edge) -> Result<(), SolveError> {
        let node = self.nodes.get(edge.node);
        let outputs = node.map_or(0, |node| outputs(&node.op));
        match edge.output < outputs {
            true => Ok(()),
            false => Err(invalid(format!(
                "invalid LLB definition: no output {} of a vertex with {outputs}",
                edge.output
            ))),
        }
    }
}

impl Node {
    /// What people call it, without the passwords of addresses.
    pub(crate) fn name(&self) -> String {
        fetch::redacted(&self.own_name())
    }

    fn own_name(&self) -> String {
        if let Some(name) = self.metadata.description.get("llb.customname") {
            return name.clone();
        }
        match &self.op {
            pb::op::Op::Source(source) => source.identifier.clone(),
            pb::op::Op::Exec(exec) => {
                let meta = exec.meta.as_ref();
                meta.map(|meta| meta.args.join(" ")).unwrap_or_default()
            }
            pb::op::Op::File(file) => file_name(file),
            pb::op::Op::Merge(_) => "merge".to_owned(),
            pb::op::Op::Diff(_) => "diff".to_owned(),
            pb::op::Op::Build(_) => "build".to_owned(),
        }
    }
}

fn file_name(file: &pb::FileOp) -> String {
    use pb::file_action::Action;
    let names = file.actions.iter().map(|action| match &action.action {
        Some(Action::Copy(copy)) => format!("copy {} {}", copy.src, copy.dest),
        Some(Action::Mkfile(file)) => format!("mkfile {}", file.path),
        Some(Action::Mkdir(folder)) => format!("mkdir {}", folder.path),
        Some(Action::Rm(gone)) => format!("rm {}", gone.path),
        Some(Action::Symlink(link)) => format!("symlink {} -> {}", link.newpath, link.oldpath),
        None => String::new(),
    });
    names.collect::<Vec<_>>().join(", ")
}

/// How many outputs there are.
pub(crate) fn outputs(op: &pb::op::Op) -> usize {
    let highest = |numbers: &mut dyn Iterator<Item = i64>| {
        let last = numbers
            .filter_map(|number| usize::try_from(number).ok())
            .max();
        last.map_or(0, |last| last + 1)
    };
    match op {
        pb::op::Op::Exec(exec) => highest(&mut exec.mounts.iter().map(|mount| mount.output)),
        pb::op::Op::File(file) => highest(&mut file.actions.iter().map(|action| action.output)),
        _ => 1,
    }
}

/// The operation as the cache knows it: proxies change nothing of what comes out, nor does where a layout lies.
fn bare(op: &pb::Op) -> pb::Op {
    let mut bare = op.clone();
    match &mut bare.op {
        Some(pb::op::Op::Exec(exec)) => {
            if let Some(meta) = &mut exec.meta {
                meta.proxy_env = None;
            }
        }
        Some(pb::op::Op::Source(source)) if source.identifier.starts_with("oci-layout://") => {
            let digest = source.identifier.rsplit('@').next().unwrap_or_default();
            source.identifier = format!("oci-layout://@{digest}");
            source.attrs.retain(|name, _| name == "oci.layerlimit");
        }
        _ => {}
    }
    bare
}

/// All that `wanted` needs, those first that need nothing. No recursion: a graph can be as deep as it is long.
fn order(ops: &HashMap<String, pb::Op>, wanted: &str) -> Result<Vec<String>, SolveError> {
    #[derive(PartialEq)]
    enum Mark {
        Open,
        Done,
    }
    let mut marks: HashMap<&str, Mark> = HashMap::new();
    let mut order = Vec::new();
    let mut stack = vec![(wanted, false)];
    while let Some((digest, left)) = stack.pop() {
        if left {
            marks.insert(digest, Mark::Done);
            order.push(digest.to_owned());
            continue;
        }
        match marks.get(digest) {
            Some(Mark::Done) => continue,
            Some(Mark::Open) => return Err(invalid("invalid LLB definition: it has a circle")),
            None => {}
        }
        let op = ops.get(digest).ok_or_else(|| missing(digest))?;
        if op.inputs.len() > MAX_PARTS {
            return Err(invalid("operation has too many inputs"));
        }
        marks.insert(digest, Mark::Open);
        stack.push((digest, true));
        let inputs = op.inputs.iter().map(|input| input.digest.as_str());
        stack.extend(
            inputs
                .filter(|input| marks.get(input) != Some(&Mark::Done))
                .map(|input| (input, false)),
        );
    }
    Ok(order)
}

fn check_op(op: &pb::op::Op, inputs: usize) -> Result<(), SolveError> {
    let within = |number: i64, limit: usize| {
        let known = usize::try_from(number).is_ok_and(|number| number < limit);
        match known || number == -1 {
            true => Ok(()),
            false => Err(invalid(format!(
                "invalid LLB definition: no input {number} of {limit}"
            ))),
        }
    };
    let output = |number: i64| match (-1..MAX_PARTS as i64).contains(&number) {
        true => Ok(()),
        false => Err(invalid(format!("invalid LLB definition: output {number}"))),
    };
    match op {
        pb::op::Op::Exec(exec) => {
            let meta = exec.meta.as_ref();
            if meta.is_none_or(|meta| meta.args.is_empty()) {
                return Err(invalid("invalid exec op with no args"));
            }
            if exec.mounts.is_empty() || exec.mounts.len() > MAX_PARTS {
                return Err(invalid("invalid exec op with no mounts"));
            }
            if !exec.mounts.iter().any(|mount| mount.dest == "/") {
                return Err(invalid("invalid exec op with no rootfs"));
            }
            for mount in &exec.mounts {
                within(mount.input, inputs)?;
                output(mount.output)?;
                check_root(mount)?;
            }
        }
        pb::op::Op::File(file) => {
            if file.actions.is_empty() || file.actions.len() > MAX_PARTS {
                return Err(invalid("invalid file op with no actions"));
            }
            for (at, action) in file.actions.iter().enumerate() {
                // An earlier action's tree is an input too.
                within(action.input, inputs + at)?;
                within(action.secondary_input, inputs + at)?;
                output(action.output)?;
                if action.action.is_none() {
                    return Err(invalid("invalid file op with an unknown action"));
                }
            }
        }
        pb::op::Op::Merge(merge) => {
            if merge.inputs.len() < 2 {
                return Err(invalid("merge op needs two inputs"));
            }
            for input in &merge.inputs {
                within(input.input, inputs)?;
            }
        }
        pb::op::Op::Diff(diff) => {
            within(diff.lower.map_or(-1, |lower| lower.input), inputs)?;
            within(diff.upper.map_or(-1, |upper| upper.input), inputs)?;
        }
        pb::op::Op::Source(source) => {
            if !source.identifier.contains("://") {
                let name = &source.identifier;
                return Err(invalid(format!("invalid source identifier {name:?}")));
            }
        }
        pb::op::Op::Build(_) => {}
    }
    Ok(())
}

/// A part of a tree cannot be a root: it would be ignored that it is asked for.
///
/// # Errors
/// If it is.
pub(crate) fn check_root(mount: &pb::Mount) -> Result<(), SolveError> {
    match mount.dest == "/" && !matches!(mount.selector.as_str(), "" | "/") {
        true => Err(invalid("a root mount cannot have a selector")),
        false => Ok(()),
    }
}

/// Where vertices stand in files.
struct Sources {
    infos: Vec<pb::SourceInfo>,
    locations: BTreeMap<String, pb::Locations>,
}

impl Sources {
    fn new(definition: &pb::Definition) -> Self {
        let source = definition.source.clone().unwrap_or_default();
        Self {
            infos: source.infos,
            locations: source.locations,
        }
    }

    fn of(&self, digest: &str) -> Vec<SourceRange> {
        let locations = self.locations.get(digest).map(|all| &all.locations[..]);
        let locations = locations.unwrap_or_default().iter();
        let found = locations.filter_map(|location| {
            let info = self
                .infos
                .get(usize::try_from(location.source_index).ok()?)?;
            Some(SourceRange {
                info: info.clone(),
                ranges: location.ranges.clone(),
            })
        });
        found.collect()
    }
}

fn index(number: i64) -> Result<usize, SolveError> {
    let number = usize::try_from(number);
    number.map_err(|_| invalid("invalid LLB definition: negative output"))
}

fn missing(digest: &str) -> SolveError {
    invalid(format!("invalid missing input digest {digest}"))
}

fn invalid(text: impl Into<String>) -> SolveError {
    SolveError::Invalid(text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(definition: &pb::Definition) -> Result<Graph, SolveError> {
        Graph::read(definition, &Policies::default())
    }

    fn definition(ops: &[pb::Op]) -> pb::Definition {
        let def = ops.iter().map(|op| op.encode_to_vec()).collect();
        pb::Definition {
            def,
            ..pb::Definition::default()
        }
    }

    fn source(name: &str) -> pb::Op {
        let source = pb::SourceOp {
            identifier: name.to_owned(),
            ..pb::SourceOp::default()
        };
        pb::Op {
            op: Some(pb::op::Op::Source(source)),
            ..pb::Op::default()
        }
    }

    fn input(op: &pb::Op, index: i64) -> pb::Input {
        let digest = Digest::sha256(&op.encode_to_vec()).to_string();
        pb::Input { digest, index }
    }

    fn end(op: &pb::Op, index: i64) -> pb::Op {
        pb::Op {
            inputs: vec![input(op, index)],
            ..pb::Op::default()
        }
    }

    #[test]
    fn reads_what_is_wanted_and_nothing_else() {
        let (a, b) = (source("local://a"), source("local://b"));
        let merge = pb::Op {
            inputs: vec![input(&a, 0), input(&a, 0)],
            op: Some(pb::op::Op::Merge(pb::MergeOp {
                inputs: vec![pb::MergeInput { input: 0 }, pb::MergeInput { input: 1 }],
            })),
            ..pb::Op::default()
        };
        let graph = read(&definition(&[b, a, merge.clone(), end(&merge, 0)])).unwrap();
        assert_eq!(graph.nodes.len(), 2);
        assert_eq!(graph.nodes[1].inputs[0], graph.nodes[1].inputs[1]);
        assert_eq!(graph.nodes[1].name(), "merge");
        assert!(read(&pb::Definition::default()).unwrap().root.is_none());
    }

    #[test]
    fn refuses_what_is_no_graph() {
        let a = source("local://a");
        let error = |ops: &[pb::Op]| read(&definition(ops)).unwrap_err().to_string();
        assert!(error(std::slice::from_ref(&a)).contains("no terminal operation"));
        assert!(error(&[a.clone(), end(&source("local://x"), 0)]).contains("missing input"));
        assert!(error(&[a.clone(), end(&a, 1)]).contains("no output 1"));
        assert!(error(&[a.clone(), end(&a, -1)]).contains("negative"));
        assert!(error(&[source("x"), end(&source("x"), 0)]).contains("identifier"));
        let exec = |exec: pb::ExecOp| {
            let op = pb::Op {
                inputs: vec![input(&a, 0)],
                op: Some(pb::op::Op::Exec(exec)),
                ..pb::Op::default()
            };
            error(&[a.clone(), op.clone(), end(&op, 0)])
        };
        assert!(exec(pb::ExecOp::default()).contains("no args"));
        let meta = pb::Meta {
            args: vec!["x".to_owned()],
            ..pb::Meta::default()
        };
        let mount = |input: i64, dest: &str| pb::Mount {
            input,
            dest: dest.to_owned(),
            ..pb::Mount::default()
        };
        let with = |mounts: Vec<pb::Mount>| {
            exec(pb::ExecOp {
                meta: Some(meta.clone()),
                mounts,
                ..pb::ExecOp::default()
            })
        };
        assert!(with(vec![mount(0, "/a")]).contains("no rootfs"));
        assert!(with(vec![mount(7, "/")]).contains("no input 7"));
        assert!(with(vec![mount(-2, "/")]).contains("no input -2"));
        let huge = vec![vec![0; MAX_OP + 1]];
        let huge = pb::Definition {
            def: huge,
            ..pb::Definition::default()
        };
        assert!(read(&huge).is_err());
    }

    proptest::proptest! {
        #[test]
        fn never_panics(ops in proptest::collection::vec(proptest::collection::vec(0_u8..255, 0..64), 0..8)) {
            let definition = pb::Definition { def: ops, ..pb::Definition::default() };
            let _ = read(&definition);
        }
    }
}
