//! Deployments and the registry, asked for through the typed client of a host that runs an application.

mod arms;
mod bounds;
mod held;
mod line;
mod lost;
mod preparing;
mod waiting;

use airssys_wasm::{CacheLocation, Engine, EngineConfig, Policy};
use airssys_wasm_actors::deployment::{
    DeployOptions, Deployer, Rollout, RolloutOutcome, register_first,
};
use airssys_wasm_actors::{
    Application, ApplicationSpec, DeploymentState, Registry, RegistryOptions, ResolveOptions,
    RunningApplication, System, SystemConfig,
};
use airssys_wasm_console::api::{
    DeployPhase, DeployRequest, HistoryQuery, Phase, RevisionQuery, RollbackRequest, RolloutWords,
    ScaleRequest, StatusQuery, path,
};
use airssys_wasm_console::{
    BODY_BYTES_MAX, Beside, ControlClient, ControlError, ControlServer, ControlSocket, Deploying,
    ORDERS_MAX,
};

use crate::fixture::{Directory, WORKER};
use crate::hostile::{self, JSON, request};

/// A host that an application can be deployed to. The server goes before its directory.
struct Host {
    server: ControlServer,
    client: ControlClient,
    deployer: Deployer,
    running: RunningApplication,
    directory: Directory,
}

const ONE: &str = "[components.one]\nfile = \"one.wasm\"\n";
const TWO: &str = "[components.one]\nfile = \"two.wasm\"\nversion = \"2.0.0\"\n";

fn resolve(
    engine: &Engine,
    spec: &ApplicationSpec,
    beside: Beside,
) -> Result<Application, airssys_wasm_actors::ManifestErrors> {
    let options = ResolveOptions {
        policy: Policy::permissive(),
        artifacts: beside.artifacts,
        settings: beside.settings,
        ..ResolveOptions::default()
    };
    spec.resolve(engine, &options)
}

impl Host {
    async fn start(recorded: bool) -> Self {
        Self::with(recorded.then(RegistryOptions::default)).await
    }

    /// With a registry that is opened so, or without one.
    async fn with(registry: Option<RegistryOptions>) -> Self {
        Self::reading(registry, |_| {}).await
    }

    /// The same, and `before` is called before a manifest is resolved that is to be deployed.
    async fn reading(
        registry: Option<RegistryOptions>,
        before: impl Fn(&ApplicationSpec) + Send + Sync + 'static,
    ) -> Self {
        let directory = Directory::new();
        let second = WORKER.replace("(i32.const 1))", "(i32.const 2))");
        for (file, wat) in [("one.wasm", WORKER), ("two.wasm", &second)] {
            std::fs::write(directory.at(file), wat::parse_str(wat).unwrap()).unwrap();
        }
        let socket = directory.at("app.sock");
        let server = ControlServer::start(ControlSocket::bind(&socket).unwrap(), "app").unwrap();
        let engine = Engine::new(EngineConfig {
            cache: CacheLocation::Off,
            pool_instances_max: 20,
            ..EngineConfig::default()
        })
        .unwrap();
        let system = System::start(SystemConfig::new(engine.clone()))
            .await
            .unwrap();
        server.attach(&system);
        let client = ControlClient::at(&socket);
        // Nothing can be deployed to an application that is still being started.
        let early = client.deploy(&DeployRequest::default()).await.unwrap_err();
        assert_eq!(early.kind(), "loading");
        assert_eq!(client.collect().await.unwrap_err().kind(), "loading");

        let manifest = directory.at("airssys.toml");
        std::fs::write(&manifest, text(ONE)).unwrap();
        let spec = ApplicationSpec::read(&manifest).unwrap();
        let application = resolve(&engine, &spec, Default::default()).unwrap();
        let running = application.clone().start(&system).await.unwrap();
        let registry = registry.map(|options| {
            let registry = Registry::open(&directory.at("state"), options).unwrap();
            let first = register_first(&registry, &application, &DeployOptions::default());
            (registry, first.unwrap())
        });
        let deployer = Deployer::new(&running, application, registry);
        server.attach_deploying(Deploying {
            deployer: deployer.clone(),
            manifest,
            runtime: tokio::runtime::Handle::current(),
            resolve: Box::new(move |spec, beside| {
                before(spec);
                resolve(&engine, spec, beside)
            }),
        });
        server.enter(Phase::Running);
        Self {
            server,
            client,
            deployer,
            running,
            directory,
        }
    }

    /// A request to deploy the manifest of these tables, written to a file of that name.
    fn request(&self, name: &str, tables: &str) -> DeployRequest {
        let path = self.directory.at(name);
        std::fs::write(&path, text(tables)).unwrap();
        DeployRequest {
            manifest: path.to_str().unwrap().to_owned(),
            by: "somebody".to_owned(),
            why: "it is better".to_owned(),
            ..DeployRequest::default()
        }
    }

    /// The same, which is kept warm for an hour.
    fn soaking(&self, name: &str, tables: &str) -> DeployRequest {
        DeployRequest {
            rollout: RolloutWords {
                strategy: Some("blue-green".to_owned()),
                soak: Some("1h".to_owned()),
                ..RolloutWords::default()
            },
            ..self.request(name, tables)
        }
    }

    /// A request that waits for its turn.
    fn queued(&self, name: &str, tables: &str) -> DeployRequest {
        DeployRequest {
            queue: true,
            ..self.request(name, tables)
        }
    }

    fn newest(&self) -> Rollout {
        self.deployer.rollout().unwrap()
    }

    async fn soaks(&self) {
        let soaking = |status: &airssys_wasm_actors::deployment::RolloutStatus| {
            status.state == Some(DeploymentState::Soaking)
        };
        let status = self.newest().until(soaking).await;
        assert_eq!(status.end, None);
    }

    async fn answers(&self, n: u32) {
        let one = self.running.actor("one").unwrap();
        let reply = one.call("work", (1_u32,)).await.unwrap();
        assert_eq!(reply.values(), [airssys_wasm::Value::U32(n)]);
    }
}

fn text(tables: &str) -> String {
    format!("[application]\nname = \"app\"\n{tables}")
}

/// A query with one condition.
fn query(say: impl FnOnce(&mut RevisionQuery)) -> RevisionQuery {
    let mut query = RevisionQuery::default();
    say(&mut query);
    query
}

/// The refusal's kind, its text and its advice.
#[track_caller]
fn refused<T: std::fmt::Debug>(
    answer: Result<T, ControlError>,
    kind: &str,
    says: &str,
    hint: Option<&str>,
) {
    let error = answer.unwrap_err();
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.to_string().contains(says), "{error}");
    if let Some(hint) = hint {
        let found = error.hint().unwrap_or_default();
        assert!(found.contains(hint), "{found}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_planned_is_rolled_out_commanded_recorded_and_gone_back_from() {
    let host = Host::start(true).await;
    let client = &host.client;
    let before = client.deployments(&HistoryQuery::default()).await.unwrap();
    assert!(before.registry);
    assert_eq!((before.permanent, before.deployments.len()), (Some(1), 1));
    refused(
        client.promote().await,
        "no-rollout",
        "nothing has been deployed",
        None,
    );

    // A plan changes nothing.
    let plan_only = DeployRequest {
        plan_only: true,
        ..host.request("two.toml", TWO)
    };
    let planned = client.deploy(&plan_only).await.unwrap();
    assert_eq!(planned.phase, DeployPhase::Planned);
    let plan = planned.text.clone().unwrap();
    assert!(
        plan.contains("replace `one`") && plan.contains("-> 2.0.0 ("),
        "{plan}"
    );
    assert_eq!(planned.plan.unwrap()["steps"][0]["parts"][0]["name"], "one");
    assert!(client.deployment().await.unwrap().rollout.is_none());
    let asked = client.deploy_request(planned.request).await.unwrap();
    assert_eq!(asked.phase, DeployPhase::Planned);

    let request = host.soaking("two.toml", TWO);
    let deployed = client.deploy(&request).await.unwrap();
    assert_eq!(deployed.phase, DeployPhase::RollingOut);
    host.soaks().await;
    host.answers(3).await;
    let other = client.deploy(&host.request("one.toml", ONE)).await;
    refused(
        other,
        "under-way",
        "another deployment is under way",
        Some("--queue"),
    );
    assert!(client.pause().await.unwrap().registry);
    refused(client.pause().await, "paused", "", None);
    assert!(host.newest().until(|status| status.paused).await.paused);
    assert!(client.deployment().await.unwrap().rollout.unwrap().paused);
    client.resume().await.unwrap();
    refused(client.resume().await, "not-paused", "", None);
    client.promote().await.unwrap();
    assert_eq!(host.newest().finished().await, RolloutOutcome::Permanent);
    refused(client.promote().await, "over", "", None);
    refused(client.pause().await, "over", "", None);
    let over = client.deploy_request(deployed.request).await.unwrap();
    assert_eq!(over.phase, DeployPhase::Over);
    let end = over.rollout.unwrap().end.unwrap();
    assert_eq!((end.outcome.as_str(), end.reason), ("permanent", None));
    assert_eq!(client.deployment().await.unwrap().number, Some(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_under_way_is_rolled_back_and_what_is_over_is_deployed_again() {
    let host = Host::start(true).await;
    let client = &host.client;
    let target = client.roll_back(&RollbackRequest::default()).await;
    let none = "no deployment to go back to";
    refused(target, "no-rollback-target", none, Some("--to"));
    client.deploy(&host.request("two.toml", TWO)).await.unwrap();
    assert_eq!(host.newest().finished().await, RolloutOutcome::Permanent);

    // One that is under way is rolled back, …
    client.deploy(&host.soaking("one.toml", ONE)).await.unwrap();
    host.soaks().await;
    host.answers(2).await;
    let planned = RollbackRequest {
        plan_only: true,
        ..RollbackRequest::default()
    };
    let under_way = client.roll_back(&planned).await;
    refused(
        under_way,
        "under-way",
        "the old revisions serve again",
        Some("--to N"),
    );
    host.answers(2).await;
    let back = RollbackRequest {
        by: "me".to_owned(),
        why: "it was better".to_owned(),
        ..RollbackRequest::default()
    };
    let rolling = client.roll_back(&back).await.unwrap();
    assert!(matches!(
        rolling.phase,
        DeployPhase::RollingOut | DeployPhase::Over
    ));
    let reason = "rolled back by me: it was better".to_owned();
    let end = host.newest().finished().await;
    assert_eq!(end, RolloutOutcome::RolledBack { reason });
    host.answers(3).await;
    // … and one that is over is deployed again, once it is more than a plan.
    let plan = client.roll_back(&planned).await.unwrap();
    assert_eq!(plan.phase, DeployPhase::Planned);
    assert!(plan.text.unwrap().contains("replace `one` 2.0.0 ("));
    let again = client.roll_back(&RollbackRequest::default()).await.unwrap();
    assert!(again.text.unwrap().contains("replace `one` 2.0.0 ("));
    assert_eq!(host.newest().finished().await, RolloutOutcome::Permanent);
    host.answers(2).await;
    let unknown = RollbackRequest {
        to: Some(99),
        ..RollbackRequest::default()
    };
    refused(
        client.roll_back(&unknown).await,
        "no-such-deployment",
        "99",
        None,
    );

    let history = client
        .deployments(&HistoryQuery { limit: Some(3) })
        .await
        .unwrap();
    let said: Vec<_> = history
        .deployments
        .iter()
        .map(|one| {
            (
                one.number,
                one.state.as_str(),
                one.components["app/one"],
                one.why.as_str(),
            )
        })
        .collect();
    assert_eq!(
        said,
        [
            (Some(4), "permanent", 1, "rollback to 1"),
            (Some(3), "rolled-back", 1, "it is better"),
            (Some(2), "permanent", 2, "it is better"),
        ]
    );
    assert_eq!(history.permanent, Some(4));
    assert_eq!(history.rollback_target, Some(2));
    assert_eq!(history.deployments[2].versions["app/one"], "2.0.0");
    assert!(history.deployments[0].versions.is_empty());
    assert!(!history.deployments[0].journal.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_registry_is_listed_shown_and_collected() {
    let host = Host::start(true).await;
    let client = &host.client;
    let request = host.request("two.toml", TWO);
    client.deploy(&request).await.unwrap();
    assert_eq!(host.newest().finished().await, RolloutOutcome::Permanent);
    let all = client.revisions(&RevisionQuery::default()).await.unwrap();
    let said: Vec<_> = all
        .revisions
        .iter()
        .map(|one| (one.revision, one.version.as_deref(), one.states.join(" ")))
        .collect();
    assert_eq!(
        said,
        [
            (1, None, "rollback-target".to_owned()),
            (2, Some("2.0.0"), "serving".to_owned()),
        ]
    );
    for (query, count) in [
        (query(|query| query.address = Some("app/one".to_owned())), 2),
        (query(|query| query.address = Some("app/two".to_owned())), 0),
        (query(|query| query.state = Some("serving".to_owned())), 1),
        (
            query(|query| query.exports = Some("test:t/work".to_owned())),
            2,
        ),
        (
            query(|query| query.imports = Some("test:t/work".to_owned())),
            0,
        ),
        (query(|query| query.grant = Some("log".to_owned())), 0),
    ] {
        let found = client.revisions(&query).await.unwrap();
        assert_eq!(
            (found.revisions.len(), found.more),
            (count, false),
            "{query:?}"
        );
    }
    let first = query(|query| query.limit = Some(1));
    let first = client.revisions(&first).await.unwrap();
    assert_eq!((first.revisions.len(), first.more), (1, true));
    let wrong = query(|query| query.state = Some("best".to_owned()));
    let wrong = client.revisions(&wrong).await;
    refused(
        wrong,
        "bad-request",
        "there is no state `best`",
        Some("rollback-target"),
    );
    let wrong = query(|query| query.address = Some("a//b".to_owned()));
    refused(client.revisions(&wrong).await, "bad-request", "a//b", None);

    let shown = client.revision("app/one", 2).await.unwrap();
    assert_eq!(shown.revision.version.as_deref(), Some("2.0.0"));
    assert_eq!(
        (shown.revision.by.as_str(), shown.revision.source),
        ("somebody", request.manifest)
    );
    assert!(shown.spec.contains("two.wasm"), "{}", shown.spec);
    assert_eq!(shown.exports[0].name, "test:t/work");
    assert!(
        shown.exports[0]
            .functions
            .contains(&"work: func(n: u32) -> u32".to_owned())
    );
    refused(
        client.revision("app/one", 9).await,
        "no-such-revision",
        "9",
        None,
    );
    refused(client.revision("APP", 1).await, "bad-request", "APP", None);
    let collected = client.collect().await.unwrap();
    assert_eq!((collected.revisions, collected.deployments), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn words_that_mean_nothing_are_refused() {
    let host = Host::start(true).await;
    let client = &host.client;
    let relative = DeployRequest {
        manifest: "airssys.toml".to_owned(),
        ..DeployRequest::default()
    };
    let answer = client.deploy(&relative).await;
    refused(
        answer,
        "bad-request",
        "no absolute path",
        Some("another directory"),
    );
    let good = host.request("two.toml", TWO);
    let words = |strategy: &str, steps: Option<&str>, state: Option<&str>| DeployRequest {
        rollout: RolloutWords {
            strategy: Some(strategy.to_owned()),
            steps: steps.map(str::to_owned),
            state: state.map(str::to_owned),
            ..RolloutWords::default()
        },
        ..good.clone()
    };
    for (request, says) in [
        (words("blue", None, None), "there is no strategy `blue`"),
        (words("canary", Some("5%:soon"), None), "soon"),
        (words("rolling", Some("5%"), None), "steps"),
        (
            words("rolling", None, Some("keep")),
            "`keep` is nothing to do with state",
        ),
    ] {
        refused(client.deploy(&request).await, "bad-request", says, None);
    }
    assert!(client.deployment().await.unwrap().rollout.is_none());
    // An application that is being stopped changes no more.
    host.server.enter(Phase::Stopping);
    let stopping = "being stopped";
    refused(client.deploy(&good).await, "stopping", stopping, None);
    let back = client.roll_back(&RollbackRequest::default()).await;
    refused(back, "stopping", stopping, None);
    refused(client.pause().await, "stopping", stopping, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_deployed_is_refused_with_everything_in_the_way() {
    let host = Host::start(true).await;
    let client = &host.client;
    let missing = DeployRequest {
        manifest: host.directory.at("none.toml").to_str().unwrap().to_owned(),
        ..DeployRequest::default()
    };
    refused(client.deploy(&missing).await, "manifest", "", None);
    let faults = "[components.one]\nfile = \"none.wasm\"\ncolour = 1\n";
    let answer = client.deploy(&host.request("bad.toml", faults)).await;
    let Err(ControlError::Refused { status, report }) = answer else {
        panic!("{answer:?}");
    };
    assert_eq!((status, report.kind.as_str()), (422, "manifest"));
    assert_eq!(report.findings[0].line, Some(5));
    assert!(
        report.findings[0]
            .file
            .as_ref()
            .unwrap()
            .ends_with("bad.toml")
    );

    let other = host.request("other.toml", ONE);
    std::fs::write(
        &other.manifest,
        format!("[application]\nname = \"other\"\n{ONE}"),
    )
    .unwrap();
    refused(client.deploy(&other).await, "plan-refused", "other", None);
    let mailbox = format!("{TWO}mailbox = {{ depth = 7 }}\n");
    let answer = client.deploy(&host.request("mailbox.toml", &mailbox)).await;
    let Err(ControlError::Refused { status, report }) = answer else {
        panic!("{answer:?}");
    };
    assert_eq!((status, report.kind.as_str()), (409, "plan-refused"));
    assert!(
        report
            .findings
            .iter()
            .any(|one| one.message.contains("depth"))
    );

    refused(
        client.deploy_request(999).await,
        "no-such-request",
        "999",
        Some("history"),
    );
    host.answers(2).await;
    assert!(client.deployment().await.unwrap().rollout.is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_registry_it_is_deployed_and_not_recorded() {
    let host = Host::start(false).await;
    let client = &host.client;
    client.deploy(&host.request("two.toml", TWO)).await.unwrap();
    assert_eq!(host.newest().finished().await, RolloutOutcome::Permanent);
    host.answers(3).await;
    let history = client.deployments(&HistoryQuery::default()).await.unwrap();
    assert!(!history.registry);
    assert_eq!((history.permanent, history.deployments.len()), (None, 1));
    let back = client.roll_back(&RollbackRequest::default()).await;
    refused(back, "no-registry", "no registry", Some("--state"));
    let listed = client.revisions(&RevisionQuery::default()).await;
    refused(listed, "no-registry", "no registry", Some("--state"));
    refused(client.revision("app/one", 1).await, "no-registry", "", None);
    refused(client.collect().await, "no-registry", "", None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_that_wait_have_their_turn_and_are_not_too_many() {
    let host = Host::start(false).await;
    let client = &host.client;
    client.deploy(&host.soaking("two.toml", TWO)).await.unwrap();
    host.soaks().await;
    let queued = host.queued("one.toml", ONE);
    for _ in 1..ORDERS_MAX {
        let waiting = client.deploy(&queued).await.unwrap();
        assert_eq!(waiting.phase, DeployPhase::Waiting);
    }
    let many = client.deploy(&queued).await;
    refused(
        many,
        "busy",
        "64 deployments are under way or waiting",
        Some("wait"),
    );
    // Each of them is refused or over in the end: the first changes something, and for the others there is nothing to do.
    client.promote().await.unwrap();
    let last = u64::try_from(ORDERS_MAX).unwrap();
    while !client.deploy_request(last).await.unwrap().phase.is_final() {}
    host.answers(2).await;
    client.deploy(&host.request("two.toml", TWO)).await.unwrap();
}

/// A deployment that waited is of what runs at its turn, not of what ran when it was asked for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_its_turn_is_built_on_what_runs_by_then() {
    let host = Host::start(true).await;
    let client = &host.client;
    client.deploy(&host.soaking("two.toml", TWO)).await.unwrap();
    host.soaks().await;
    for replicas in [3, 2] {
        let scale = ScaleRequest {
            component: "one".to_owned(),
            replicas,
            discard_state: true,
            queue: true,
            ..ScaleRequest::default()
        };
        let waiting = client.scale(&scale).await.unwrap();
        assert_eq!(waiting.phase, DeployPhase::Waiting);
    }
    client.promote().await.unwrap();
    let one = "app/one".parse().unwrap();
    while host.running.system().replicas(&one) != Some(2) {
        tokio::task::yield_now().await;
    }
    // Neither of them has brought back the revision that ran when they were asked for.
    host.answers(3).await;
    let manifest = host.deployer.current().manifest().to_owned();
    assert!(manifest.contains("two.wasm"), "{manifest}");
}

/// Every route that changes something, and every way to say it wrongly: nothing is done, and the answer says what it was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_mistake_in_an_order_has_its_own_answer() {
    let host = Host::start(true).await;
    let socket = host.directory.at("app.sock");
    let long = format!(r#"{{"manifest":"{}"}}"#, "x".repeat(BODY_BYTES_MAX));
    let taken = [
        path::DEPLOYMENTS,
        path::ROLLBACK,
        path::SCALE,
        path::CONFIG,
        path::CANCEL,
    ];
    for route in taken {
        for (body, status, kind, says) in [
            ("", 400, "bad-request", "EOF"),
            ("{", 400, "bad-request", "EOF"),
            ("\u{0}", 400, "bad-request", "expected value"),
            (r#""deploy""#, 400, "bad-request", "string"),
            (r#"{"colour":"red"}"#, 400, "bad-request", "colour"),
            (long.as_str(), 413, "too-large", "262144"),
        ] {
            let request = request("POST", route, JSON, body);
            hostile::refused(&socket, &request, status, kind, says);
        }
        let without = request("POST", route, "", "{}");
        hostile::refused(&socket, &without, 415, "not-json", "content-type");
    }
    for (route, body, says) in [
        (path::DEPLOYMENTS, r#"{"manifest":7}"#, "manifest"),
        (path::DEPLOYMENTS, r#"{"queue":"yes"}"#, "queue"),
        (
            path::DEPLOYMENTS,
            r#"{"rollout":{"colour":"blue"}}"#,
            "colour",
        ),
        (path::ROLLBACK, r#"{"to":-1}"#, "to"),
        (path::CANCEL, r#"{"order":-1}"#, "order"),
        (path::ROLLBACK, r#"{"to":18446744073709551616}"#, "to"),
        (
            path::SCALE,
            r#"{"component":"one","replicas":-1}"#,
            "replicas",
        ),
        (
            path::SCALE,
            r#"{"component":"one","replicas":1.5}"#,
            "replicas",
        ),
    ] {
        let request = request("POST", route, JSON, body);
        hostile::refused(&socket, &request, 400, "bad-request", says);
    }
    for (route, method) in [
        (path::PROMOTE, "GET"),
        (path::PAUSE, "PUT"),
        (path::RESUME, "DELETE"),
        (path::ROLLBACK, "GET"),
        (path::CANCEL, "GET"),
        (path::SCALE, "PATCH"),
        (path::CURRENT, "POST"),
        (path::GC, "GET"),
    ] {
        hostile::refused(
            &socket,
            &request(method, route, "", ""),
            405,
            "no-such-method",
            method,
        );
    }
    let why = DeployRequest {
        why: "w".repeat(5_000),
        ..host.request("two.toml", TWO)
    };
    let error = host.client.deploy(&why).await.unwrap_err();
    assert_eq!(error.kind(), "bad-request", "{error}");
    assert!(host.deployer.rollouts().is_empty());
    host.answers(2).await;
}
