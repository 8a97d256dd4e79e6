//! A component in revisions that differ in what they answer and in how their hooks end.

/// What a revision is made of.
#[derive(Clone, Copy)]
pub(crate) struct Revision {
    /// What `version` answers.
    pub(crate) version: u32,
    /// How `init` ends: 0 well, 1 it traps, 2 it spins. Without `init` at all: 3.
    pub(crate) init: u32,
    /// What `check` answers: 0 healthy, 2 failed.
    pub(crate) health: u32,
    /// How `snapshot` ends: 0 well, 1 refused, 3 it spins, 5 it traps.
    pub(crate) snapshot: u32,
    /// The same of `restore`.
    pub(crate) restore: u32,
}

pub(crate) const V1: Revision = Revision {
    version: 1,
    init: 0,
    health: 0,
    snapshot: 0,
    restore: 0,
};
pub(crate) const V2: Revision = Revision { version: 2, ..V1 };

impl Revision {
    fn core(self) -> String {
        let Self {
            version,
            init,
            health,
            snapshot,
            restore,
        } = self;
        let end = |how: u32| match how {
            1 => "(return (call $refuse))",
            3 => "(loop (br 0))",
            5 => "unreachable",
            _ => "",
        };
        let init = match init {
            1 => "unreachable",
            2 => "(loop (br 0))",
            _ => "",
        };
        let (snapshot, restore) = (end(snapshot), end(restore));
        format!(
            r#"(core module $m
    (memory (export "memory") 1)
    (data (i32.const 512) "will not")
    (global $sum (mut i32) (i32.const 0))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
    (func $refuse (result i32)
      (i32.store8 (i32.const 16) (i32.const 1))
      (i32.store (i32.const 20) (i32.const 512))
      (i32.store (i32.const 24) (i32.const 8))
      (i32.const 16))
    (func (export "init") (param i32 i32) (result i32) {init}
      (i32.store8 (i32.const 16) (i32.const 0)) (i32.const 16))
    (func (export "check") (result i32)
      (i32.store8 (i32.const 16) (i32.const {health}))
      (i32.store (i32.const 20) (i32.const 512))
      (i32.store (i32.const 24) (i32.const 8))
      (i32.const 16))
    (func (export "add") (param i32) (result i32)
      (global.set $sum (i32.add (global.get $sum) (local.get 0)))
      (global.get $sum))
    (func (export "version") (result i32) (i32.const {version}))
    (func (export "work") (param i32) (result i32) (i32.const {version}))
    (func (export "more") (result i32) (i32.const 42))
    (func (export "trap") unreachable)
    (func (export "spin") (loop (br 0)))
    (func (export "snapshot") (result i32) {snapshot}
      (i32.store (i32.const 64) (global.get $sum))
      (i32.store8 (i32.const 16) (i32.const 0))
      (i32.store (i32.const 20) (i32.const 64))
      (i32.store (i32.const 24) (i32.const 4))
      (i32.const 16))
    (func (export "restore") (param i32) (param i32) (param $bytes i32) (param i32) (result i32) {restore}
      (global.set $sum (i32.load (local.get $bytes)))
      (i32.store8 (i32.const 16) (i32.const 0))
      (i32.const 16)))
  (core instance $i (instantiate $m))
  (func $add (param "n" u32) (result u32) (canon lift (core func $i "add")))
  (func $version (result u32) (canon lift (core func $i "version")))
  (func $more (result u32) (canon lift (core func $i "more")))
  (func $work (param "n" u32) (result u32) (canon lift (core func $i "work")))
  (func $trap (canon lift (core func $i "trap")))
  (func $spin (canon lift (core func $i "spin")))
  (func $init (param "config" (list (tuple string string))) (result (result (error string)))
    (canon lift (core func $i "init") (memory $i "memory") (realloc (func $i "realloc"))))
  (type $check' (variant (case "healthy") (case "degraded" string) (case "failed" string)))
  (func $snapshot (result (result (list u8) (error string)))
    (canon lift (core func $i "snapshot") (memory $i "memory")))
  (func $restore (param "from-version" string) (param "bytes" (list u8)) (result (result (error string)))
    (canon lift (core func $i "restore") (memory $i "memory") (realloc (func $i "realloc"))))"#
        )
    }

    fn hooks(self) -> String {
        let init = match self.init {
            3 => "",
            _ => r#"(instance (export "airssys:actor/init@0.1.0") (export "init" (func $init)))"#,
        };
        format!(
            r#"{init}
  (component $health
    (type $of (variant (case "healthy") (case "degraded" string) (case "failed" string)))
    (import "health" (type $given (eq $of)))
    (import "check" (func $check (result $given)))
    (export $health' "health" (type $given))
    (export "check" (func $check) (func (result $health'))))
  (func $check (result $check') (canon lift (core func $i "check") (memory $i "memory")))
  (instance $healthy (instantiate $health (with "health" (type $check')) (with "check" (func $check))))
  (export "airssys:actor/health@0.1.0" (instance $healthy))"#
        )
    }

    /// Begins afresh, and has its functions in another order when it is not the first.
    pub(crate) fn stateless(self) -> String {
        let work = if self.version == 1 {
            r#"(instance (export "test:t/work")
                (export "version" (func $version)) (export "work" (func $work))
                (export "trap" (func $trap)) (export "spin" (func $spin)) (export "add" (func $add)))"#
        } else {
            r#"(instance (export "test:t/work")
                (export "more" (func $more)) (export "spin" (func $spin)) (export "add" (func $add))
                (export "trap" (func $trap)) (export "work" (func $work)) (export "version" (func $version)))"#
        };
        format!("(component {} {work} {})", self.core(), self.hooks())
    }

    /// With its state.
    pub(crate) fn stateful(self) -> String {
        let whole = self.stateless();
        let state = r#"(instance (export "airssys:actor/state@0.1.0")
            (export "snapshot" (func $snapshot)) (export "restore" (func $restore))))"#;
        format!("{} {state}", whole.strip_suffix(')').unwrap())
    }
}
