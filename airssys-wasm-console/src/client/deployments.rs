//! Requests about deployments and the registry.

use super::{ControlClient, ControlError, encoded};
use crate::api::{
    CancelRequest, ConfigList, ConfigQuery, ConfigRequest, CurrentDeployment, DeployAnswer,
    DeployRequest, DeploymentList, GcAnswer, HistoryQuery, RevisionDetail, RevisionList,
    RevisionQuery, RollbackRequest, ScaleRequest, WaitingView, path,
};

impl ControlClient {
    /// Plans a deployment, and begins it unless only the plan is wanted.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn deploy(&self, request: &DeployRequest) -> Result<DeployAnswer, ControlError> {
        self.post(path::DEPLOYMENTS, request).await
    }

    /// What has become of a request to deploy.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn deploy_request(&self, number: u64) -> Result<DeployAnswer, ControlError> {
        self.get(&format!("{}/{number}", path::DEPLOY_REQUESTS), &())
            .await
    }

    /// What components are configured with.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn config(&self, query: &ConfigQuery) -> Result<ConfigList, ControlError> {
        self.get(path::CONFIG, query).await
    }

    /// Plans a change of configuration, and begins it unless only the plan is wanted.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn configure(&self, request: &ConfigRequest) -> Result<DeployAnswer, ControlError> {
        self.post(path::CONFIG, request).await
    }

    /// What runs, and the newest rollout.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn deployment(&self) -> Result<CurrentDeployment, ControlError> {
        self.get(path::CURRENT, &()).await
    }

    /// The deployments of the application, newest first.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn deployments(&self, query: &HistoryQuery) -> Result<DeploymentList, ControlError> {
        self.get(path::DEPLOYMENTS, query).await
    }

    /// Skips what the newest rollout waits for.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn promote(&self) -> Result<CurrentDeployment, ControlError> {
        self.post(path::PROMOTE, &()).await
    }

    /// Stops the clocks of the newest rollout.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn pause(&self) -> Result<CurrentDeployment, ControlError> {
        self.post(path::PAUSE, &()).await
    }

    /// Lets the clocks of the newest rollout go on.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn resume(&self) -> Result<CurrentDeployment, ControlError> {
        self.post(path::RESUME, &()).await
    }

    /// Rolls back what is under way, or deploys what was before.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn roll_back(&self, request: &RollbackRequest) -> Result<DeployAnswer, ControlError> {
        self.post(path::ROLLBACK, request).await
    }

    /// Cancels an order that waits for its turn.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn cancel(&self, request: &CancelRequest) -> Result<WaitingView, ControlError> {
        self.post(path::CANCEL, request).await
    }

    /// Deploys what runs with another number of replicas of one component.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn scale(&self, request: &ScaleRequest) -> Result<DeployAnswer, ControlError> {
        self.post(path::SCALE, request).await
    }

    /// The revisions that pass.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn revisions(&self, query: &RevisionQuery) -> Result<RevisionList, ControlError> {
        self.get(path::REGISTRY, query).await
    }

    /// One revision, whole.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn revision(
        &self,
        component: &str,
        revision: u64,
    ) -> Result<RevisionDetail, ControlError> {
        let component = encoded(component);
        self.get(&format!("{}/{component}/{revision}", path::REGISTRY), &())
            .await
    }

    /// Removes what retention does not keep.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn collect(&self) -> Result<GcAnswer, ControlError> {
        self.post(path::GC, &()).await
    }
}
