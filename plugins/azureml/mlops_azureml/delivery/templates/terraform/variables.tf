variable "subscription_id" {
  description = "Id of the subscription."
  type        = string
}

variable "resource_group_name" {
  description = "Name of the resource group, which is created."
  type        = string
  default     = "mlops"
}

variable "name" {
  description = "Name of the workspace, and beginning of all other names."
  type        = string
  default     = "mlops"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,23}$", var.name))
    error_message = "The name has 3 to 24 lower-case letters, digits and hyphens, a letter first."
  }
}

variable "location" {
  description = "Region of all resources."
  type        = string
  default     = "eastus"
}

variable "clusters" {
  description = "The clusters of the workspace: each scales from zero to its number of nodes."
  type = map(object({
    vm_size   = string
    max_nodes = number
    is_spot   = optional(bool, false)
  }))
  default = {
    cpu-cluster = { vm_size = "Standard_E4as_v4", max_nodes = 2 }
    gpu-cluster = { vm_size = "Standard_NC4as_T4_v3", max_nodes = 4 }
  }
}

variable "address_space" {
  description = "Addresses of the virtual network."
  type        = string
  default     = "10.20.0.0/20"
}

variable "is_private" {
  description = "Reach the workspace and its parts from the virtual network only."
  type        = bool
  default     = false
}

variable "github_repository" {
  description = "Repository that may sign in as the CI identity, OWNER/NAME; empty for none."
  type        = string
  default     = ""
}

variable "github_branch" {
  description = "Branch of that repository."
  type        = string
  default     = "main"
}

variable "tags" {
  description = "Tags of all resources."
  type        = map(string)
  default     = {}
}
