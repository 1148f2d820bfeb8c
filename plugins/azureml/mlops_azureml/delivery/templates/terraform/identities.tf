# Two identities: that of the nodes, which read data and register models, and that of the CI service, which submits.

resource "azurerm_user_assigned_identity" "compute" {
  name                = "${var.name}-compute"
  location            = azurerm_resource_group.mlops.location
  resource_group_name = azurerm_resource_group.mlops.name
  tags                = var.tags
}

resource "azurerm_user_assigned_identity" "ci" {
  name                = "${var.name}-ci"
  location            = azurerm_resource_group.mlops.location
  resource_group_name = azurerm_resource_group.mlops.name
  tags                = var.tags
}

# GitHub Actions signs in as the CI identity by its own tokens: no secret exists.
resource "azurerm_federated_identity_credential" "github" {
  count = var.github_repository == "" ? 0 : 1

  name                = "github"
  resource_group_name = azurerm_resource_group.mlops.name
  parent_id           = azurerm_user_assigned_identity.ci.id
  issuer              = "https://token.actions.githubusercontent.com"
  subject             = "repo:${var.github_repository}:ref:refs/heads/${var.github_branch}"
  audience            = ["api://AzureADTokenExchange"]
}

locals {
  grants = {
    compute-data     = { identity = "compute", role = "Storage Blob Data Contributor", scope = azurerm_storage_account.mlops.id }
    compute-images   = { identity = "compute", role = "AcrPull", scope = azurerm_container_registry.mlops.id }
    compute-register = { identity = "compute", role = "AzureML Data Scientist", scope = azurerm_machine_learning_workspace.mlops.id }
    ci-data          = { identity = "ci", role = "Storage Blob Data Contributor", scope = azurerm_storage_account.mlops.id }
    ci-images        = { identity = "ci", role = "AcrPush", scope = azurerm_container_registry.mlops.id }
    ci-submit        = { identity = "ci", role = "AzureML Data Scientist", scope = azurerm_machine_learning_workspace.mlops.id }
  }

  principals = {
    compute = azurerm_user_assigned_identity.compute.principal_id
    ci      = azurerm_user_assigned_identity.ci.principal_id
  }
}

resource "azurerm_role_assignment" "mlops" {
  for_each = local.grants

  scope                = each.value.scope
  role_definition_name = each.value.role
  principal_id         = local.principals[each.value.identity]
  principal_type       = "ServicePrincipal"
}
