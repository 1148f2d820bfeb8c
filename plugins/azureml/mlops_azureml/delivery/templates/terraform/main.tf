# Azure ML for mlops: a workspace with what it needs, and two clusters that scale to zero.
# Written by `mlops azureml infrastructure`. `terraform fmt` accepts it; it was never applied by its authors, because no
# provider could be reached: read the plan before you apply it.

terraform {
  required_version = ">= 1.5"

  required_providers {
    azurerm = {
      source  = "hashicorp/azurerm"
      version = "~> 4.0"
    }
  }
}

provider "azurerm" {
  subscription_id = var.subscription_id

  features {}
}

data "azurerm_client_config" "current" {}

locals {
  # Names of storage accounts and registries are global, and have letters and digits only.
  short_name = substr(replace(lower(var.name), "/[^a-z0-9]/", ""), 0, 16)
  unique     = substr(sha256("${var.subscription_id}/${var.resource_group_name}/${var.name}"), 0, 6)
}

resource "azurerm_resource_group" "mlops" {
  name     = var.resource_group_name
  location = var.location
  tags     = var.tags
}

resource "azurerm_log_analytics_workspace" "mlops" {
  name                = "${var.name}-logs"
  location            = azurerm_resource_group.mlops.location
  resource_group_name = azurerm_resource_group.mlops.name
  retention_in_days   = 30
  tags                = var.tags
}

resource "azurerm_application_insights" "mlops" {
  name                = "${var.name}-insights"
  location            = azurerm_resource_group.mlops.location
  resource_group_name = azurerm_resource_group.mlops.name
  workspace_id        = azurerm_log_analytics_workspace.mlops.id
  application_type    = "web"
  tags                = var.tags
}

resource "azurerm_key_vault" "mlops" {
  name                          = "${local.short_name}${local.unique}"
  location                      = azurerm_resource_group.mlops.location
  resource_group_name           = azurerm_resource_group.mlops.name
  tenant_id                     = data.azurerm_client_config.current.tenant_id
  sku_name                      = "standard"
  purge_protection_enabled      = true
  public_network_access_enabled = !var.is_private
  tags                          = var.tags
}

resource "azurerm_storage_account" "mlops" {
  name                            = "${local.short_name}${local.unique}"
  location                        = azurerm_resource_group.mlops.location
  resource_group_name             = azurerm_resource_group.mlops.name
  account_tier                    = "Standard"
  account_replication_type        = "LRS"
  min_tls_version                 = "TLS1_2"
  allow_nested_items_to_be_public = false
  public_network_access_enabled   = !var.is_private
  tags                            = var.tags
}

resource "azurerm_container_registry" "mlops" {
  name                          = "${local.short_name}${local.unique}"
  location                      = azurerm_resource_group.mlops.location
  resource_group_name           = azurerm_resource_group.mlops.name
  sku                           = var.is_private ? "Premium" : "Standard"
  admin_enabled                 = false
  public_network_access_enabled = !var.is_private
  tags                          = var.tags
}

resource "azurerm_machine_learning_workspace" "mlops" {
  name                          = var.name
  location                      = azurerm_resource_group.mlops.location
  resource_group_name           = azurerm_resource_group.mlops.name
  application_insights_id       = azurerm_application_insights.mlops.id
  key_vault_id                  = azurerm_key_vault.mlops.id
  storage_account_id            = azurerm_storage_account.mlops.id
  container_registry_id         = azurerm_container_registry.mlops.id
  public_network_access_enabled = !var.is_private
  tags                          = var.tags

  identity {
    type = "SystemAssigned"
  }
}

# Nodes cost nothing while no job runs: the clusters have no node at least, and give up an idle one after 30 seconds.
resource "azurerm_machine_learning_compute_cluster" "mlops" {
  for_each = var.clusters

  name                          = each.key
  location                      = azurerm_resource_group.mlops.location
  machine_learning_workspace_id = azurerm_machine_learning_workspace.mlops.id
  vm_size                       = each.value.vm_size
  vm_priority                   = each.value.is_spot ? "LowPriority" : "Dedicated"
  subnet_resource_id            = azurerm_subnet.training.id
  node_public_ip_enabled        = !var.is_private
  local_auth_enabled            = false
  tags                          = var.tags

  scale_settings {
    min_node_count                       = 0
    max_node_count                       = each.value.max_nodes
    scale_down_nodes_after_idle_duration = "PT30S"
  }

  identity {
    type         = "UserAssigned"
    identity_ids = [azurerm_user_assigned_identity.compute.id]
  }

  depends_on = [azurerm_private_endpoint.workspace]
}
