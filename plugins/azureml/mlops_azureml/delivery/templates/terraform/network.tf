# The virtual network of the clusters and, with is_private, of all addresses of the workspace.

resource "azurerm_virtual_network" "mlops" {
  name                = "${var.name}-network"
  location            = azurerm_resource_group.mlops.location
  resource_group_name = azurerm_resource_group.mlops.name
  address_space       = [var.address_space]
  tags                = var.tags
}

resource "azurerm_subnet" "training" {
  name                 = "training"
  resource_group_name  = azurerm_resource_group.mlops.name
  virtual_network_name = azurerm_virtual_network.mlops.name
  address_prefixes     = [cidrsubnet(var.address_space, 4, 0)]
}

resource "azurerm_subnet" "endpoints" {
  name                 = "endpoints"
  resource_group_name  = azurerm_resource_group.mlops.name
  virtual_network_name = azurerm_virtual_network.mlops.name
  address_prefixes     = [cidrsubnet(var.address_space, 4, 1)]
}

# Nothing from the internet reaches a node.
resource "azurerm_network_security_group" "training" {
  name                = "${var.name}-training"
  location            = azurerm_resource_group.mlops.location
  resource_group_name = azurerm_resource_group.mlops.name
  tags                = var.tags

  security_rule {
    name                       = "refuse-internet"
    priority                   = 4000
    direction                  = "Inbound"
    access                     = "Deny"
    protocol                   = "*"
    source_port_range          = "*"
    source_address_prefix      = "Internet"
    destination_port_range     = "*"
    destination_address_prefix = "*"
  }
}

resource "azurerm_subnet_network_security_group_association" "training" {
  subnet_id                 = azurerm_subnet.training.id
  network_security_group_id = azurerm_network_security_group.training.id
}

locals {
  private_zones = var.is_private ? {
    workspace = "privatelink.api.azureml.ms"
    notebooks = "privatelink.notebooks.azure.net"
    blob      = "privatelink.blob.core.windows.net"
    file      = "privatelink.file.core.windows.net"
    vault     = "privatelink.vaultcore.azure.net"
    registry  = "privatelink.azurecr.io"
  } : {}

  private_resources = var.is_private ? {
    blob     = { id = azurerm_storage_account.mlops.id, subresource = "blob" }
    file     = { id = azurerm_storage_account.mlops.id, subresource = "file" }
    vault    = { id = azurerm_key_vault.mlops.id, subresource = "vault" }
    registry = { id = azurerm_container_registry.mlops.id, subresource = "registry" }
  } : {}
}

resource "azurerm_private_dns_zone" "mlops" {
  for_each = local.private_zones

  name                = each.value
  resource_group_name = azurerm_resource_group.mlops.name
  tags                = var.tags
}

resource "azurerm_private_dns_zone_virtual_network_link" "mlops" {
  for_each = local.private_zones

  name                  = "${var.name}-${each.key}"
  resource_group_name   = azurerm_resource_group.mlops.name
  private_dns_zone_name = azurerm_private_dns_zone.mlops[each.key].name
  virtual_network_id    = azurerm_virtual_network.mlops.id
  tags                  = var.tags
}

resource "azurerm_private_endpoint" "workspace" {
  count = var.is_private ? 1 : 0

  name                = "${var.name}-workspace"
  location            = azurerm_resource_group.mlops.location
  resource_group_name = azurerm_resource_group.mlops.name
  subnet_id           = azurerm_subnet.endpoints.id
  tags                = var.tags

  private_service_connection {
    name                           = "workspace"
    private_connection_resource_id = azurerm_machine_learning_workspace.mlops.id
    subresource_names              = ["amlworkspace"]
    is_manual_connection           = false
  }

  private_dns_zone_group {
    name = "workspace"
    private_dns_zone_ids = [
      azurerm_private_dns_zone.mlops["workspace"].id,
      azurerm_private_dns_zone.mlops["notebooks"].id,
    ]
  }
}

resource "azurerm_private_endpoint" "parts" {
  for_each = local.private_resources

  name                = "${var.name}-${each.key}"
  location            = azurerm_resource_group.mlops.location
  resource_group_name = azurerm_resource_group.mlops.name
  subnet_id           = azurerm_subnet.endpoints.id
  tags                = var.tags

  private_service_connection {
    name                           = each.key
    private_connection_resource_id = each.value.id
    subresource_names              = [each.value.subresource]
    is_manual_connection           = false
  }

  private_dns_zone_group {
    name                 = each.key
    private_dns_zone_ids = [azurerm_private_dns_zone.mlops[each.key].id]
  }
}
