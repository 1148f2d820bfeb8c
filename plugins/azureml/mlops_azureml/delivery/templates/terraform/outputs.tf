# The variables that mlops and its CI files read.

output "variables" {
  description = "Set them in the CI service, or export them."
  value = {
    AZURE_CLIENT_ID           = azurerm_user_assigned_identity.ci.client_id
    AZURE_TENANT_ID           = data.azurerm_client_config.current.tenant_id
    SUBSCRIPTION_ID           = var.subscription_id
    RESOURCE_GROUP_NAME       = azurerm_resource_group.mlops.name
    WORKSPACE_NAME            = azurerm_machine_learning_workspace.mlops.name
    PIPELINE_CPU_COMPUTE_NAME = "cpu-cluster"
    TRAINING_GPU_COMPUTE_NAME = "gpu-cluster"
    STEP_IMAGE_REPOSITORY     = "${azurerm_container_registry.mlops.login_server}/mlops"
  }
}
